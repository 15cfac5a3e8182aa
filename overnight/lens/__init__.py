"""Lenses: a decoder that says an activation vector in words, and an encoder that makes a vector of the words."""
