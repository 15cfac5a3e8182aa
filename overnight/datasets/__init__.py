"""Questions: read from files, checked, sampled and frozen."""
