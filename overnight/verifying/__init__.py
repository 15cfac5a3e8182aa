"""Whether the files of a run are what was written, and what their schemas say."""
