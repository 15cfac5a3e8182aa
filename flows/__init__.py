"""Runs as Prefect flows: order, branching, concurrency; no science."""
