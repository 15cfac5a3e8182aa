"""Models through the library transformers, in a process of their own; nothing but ``client`` is imported outside it."""
