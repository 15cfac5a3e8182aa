"""Reports: from the files of a run to what a person reads."""
