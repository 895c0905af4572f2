"""What others named, in one line of a terminal."""

import pytest

from pneumocli.core.wording import show_plain


@pytest.mark.parametrize("path", ["a.png", "x y/Röntgen 1.png", "[red].png", "b\\c.png"])
def test_plain_names_are_shown_as_they_are(path: str) -> None:
    assert show_plain(path) == path


@pytest.mark.parametrize("path", ["a\nb", "\x1b[2J", "\u202egnp", "\udcff"])
def test_names_that_a_terminal_may_not_show_are_written_out(path: str) -> None:
    shown = show_plain(path)
    assert shown == repr(path)[1:-1]
    assert shown.isprintable()
    assert show_plain(shown) == shown
