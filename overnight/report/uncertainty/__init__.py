"""What a person and a script read of an uncertainty sweep: tables, a summary in words, and figures."""
