"""Engines: what holds a model and answers requests, each in a process of its own."""
