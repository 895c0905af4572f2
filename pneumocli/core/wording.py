"""Names that others gave, as they can be shown in one line."""


def show_plain(text: str) -> str:
    r"""Return the text with what cannot be printed spelled out, such as `\n` and `\x1b`.

    A file's name may hold line ends, a terminal's escape sequences, marks that turn the direction of
    writing, and bytes that are no text; shown as they are, they could pass for lines of our own.
    """
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)
