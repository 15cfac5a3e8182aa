"""What happened while a run was going on: where, how fast, with what."""
