"""Models that somebody else serves over the OpenAI API."""
