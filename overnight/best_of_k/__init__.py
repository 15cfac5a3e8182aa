"""How well the best of K texts says what a vector was: estimates, without torch."""
