"""Comparing two arms item by item: pairs, intervals, tests, and what a run of a given size can show."""
