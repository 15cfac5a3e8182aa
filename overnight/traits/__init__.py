"""Traits: what texts show them, the directions read from these, and whether a direction means anything."""
