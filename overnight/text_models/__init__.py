"""Text-pair models, held by a process of their own: how alike two texts are, and whether one follows from the other."""
