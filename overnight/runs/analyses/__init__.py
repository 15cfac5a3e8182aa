"""The further analyses of a finished trial: each a record for one JSON file, from tables alone."""
