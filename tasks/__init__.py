"""Units of work as Prefect sees them: a name, a policy and the reason for it, then a call into the library."""
