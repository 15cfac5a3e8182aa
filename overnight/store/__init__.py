"""Run folders and caches: every path, every write, and what makes a file count."""
