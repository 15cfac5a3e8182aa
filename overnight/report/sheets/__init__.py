"""Tables beyond the comparisons themselves, in words: written alike in Markdown and on the page."""
