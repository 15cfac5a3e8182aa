"""From a specification to a plan: pure, nothing is loaded and nothing is written."""
