"""Text that shows as what it is, and names that are too many."""

from __future__ import annotations


def visible(text: str) -> str:
    """The text with the number of each character that would not show, or would act, in its place.

    An interface's name may hold any byte but a slash, a colon and white space (dev_valid_name,
    net/core/dev.c): escape sequences for terminals, marks that turn the direction of writing.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else f"⟨U+{ord(char):04X}⟩" for char in text)


def some(names: list[str], most: int) -> str:
    """The first of the names, with commas; the rest are counted."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
