"""What a model computes on its way through a text: which states, at which tokens, projected on which directions."""
