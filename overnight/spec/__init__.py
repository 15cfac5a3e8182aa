"""What a person writes: sweeps, models, prompt sets and datasets, as validated, frozen values."""
