"""Text that shows as what it is."""

from __future__ import annotations


def visible(text: str) -> str:
    """The text with the number of each character that would not show, or would act, in its place.

    An interface's name may hold any byte but a slash, a colon and white space (dev_valid_name,
    net/core/dev.c): escape sequences for terminals, marks that turn the direction of writing.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else f"⟨U+{ord(char):04X}⟩" for char in text)
