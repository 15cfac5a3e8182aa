"""From an item and a system prompt to the messages that a model reads."""
