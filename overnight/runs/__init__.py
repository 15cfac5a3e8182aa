"""A run, stage by stage: what each stage reads and writes in the run folder. No orchestrator in here."""
