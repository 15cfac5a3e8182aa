"""What a best-of-K sweep found, for people: from the results of its trials and their candidates."""
