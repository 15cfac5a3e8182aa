"""What a person reads of a trait capture: figures, one page, and its twin in Markdown."""
