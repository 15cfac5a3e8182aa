"""Which texts can be written down and sent."""


def unwritable(text: str) -> str | None:
    """Return what a text holds that no UTF-8 file or no path can; None where there is nothing.

    NUL is a character of UTF-8, but ends a path and a text of C, and in a file of questions it means that the file is
    UTF-16.
    """
    if "\0" in text:
        return "a NUL character"
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        return "half of a surrogate pair"
    return None
