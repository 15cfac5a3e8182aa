"""Whether a model or a dataset is what a sweep needs, before a night is spent on it."""
