"""How much memory a model needs, how much there is, and what was measured."""
