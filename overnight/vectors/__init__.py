"""What models say of texts in numbers, kept: states of texts, and the directions that were found from them."""
