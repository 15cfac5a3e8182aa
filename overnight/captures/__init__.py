"""What was captured of prompts: from the files of sequences to tables; no model is needed."""
