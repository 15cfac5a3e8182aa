"""Measuring a few ways to hold a model on this machine, and keeping the best one as a preset."""
