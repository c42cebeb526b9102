"""Text that shows as what it is."""

from __future__ import annotations


def visible(text: str) -> str:
    """The text with every character that would not show, or would act, in a form that shows.

    An interface's name may hold any byte but a slash, a colon and white space (dev_valid_name,
    net/core/dev.c): escape sequences for terminals, marks that turn the direction of writing.
    Control characters become their pictures (Unicode's block U+2400), others their number.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _picture(ord(char)) for char in text)


def _picture(code: int) -> str:
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"⟨U+{code:04X}⟩"
