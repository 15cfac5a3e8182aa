"""Whether an answer depends on what else was asked at the same time: some draws are asked again, alone."""
