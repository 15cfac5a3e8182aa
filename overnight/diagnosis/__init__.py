"""What went wrong in a run, or would go wrong on this machine: measured values, rules over them, what to change."""
