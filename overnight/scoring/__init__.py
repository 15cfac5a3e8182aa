"""Reading a reply: is it an answer, is it right, does the passage bear it out. Standard library only."""
