"""Names of files, models and sequences as text that a terminal, a log and a JSON parser can take.

Standard library only: the program's start needs it.
"""

_JOINERS = "\u200c\u200d"
"""Invisible, but parts of words and of emoji."""


def plain(text: str) -> str:
    """Text whose control characters, escape codes and bytes that are no UTF-8 are shown and do nothing."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _JOINERS else _escaped(c) for c in text)


def valid(text: str) -> str:
    r"""Text that is valid Unicode: a byte that is no UTF-8 becomes `\udcXX`, four times as long."""
    return text.encode("utf-8", "backslashreplace").decode()


def shorten(text: str, width: int) -> str:
    """Text of at most `width` characters, its middle left out where it is longer."""
    if len(text) <= width:
        return text
    tail = max(1, (width - 1) // 2)
    return f"{text[: max(0, width - 1 - tail)]}…{text[-tail:]}"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
