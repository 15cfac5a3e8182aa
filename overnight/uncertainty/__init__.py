"""How uncertain a model was of an answer, and whether the answer was right: pure functions of what was generated."""
