"""Commands that need no run: scores, statistics, costs and prompts from files that somebody has."""
