"""Per-item logs of other evaluation tools, read into one neutral table: system x item x metric."""
