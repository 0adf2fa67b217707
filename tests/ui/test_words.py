"""Words of strangers on the screen."""

import pytest
from rich.console import Console

from recaster_tui.ui.widgets.panel import Words
from recaster_tui.ui.words import answer


@pytest.mark.parametrize(
    "hostile", ["\x1b]52;c;cHdu\x07", "\x9b2J", "a\nb\tc", "\u202egpj", "\udc80"]
)
def test_nothing_in_a_name_steers_the_terminal(hostile: str) -> None:
    words = Words().add(f"face {hostile} é 顔 ▀ \xa0|")
    strip = words.strip()
    text = strip.render(Console())
    text.encode()
    assert not any(c in text for c in hostile if not c.isprintable())
    assert "é 顔 ▀ \xa0|" in text
    assert strip.cell_length == words.length


def test_an_answer_names_no_folder() -> None:
    assert answer("iteration 170 in 000000170-2") == "iteration 170 saved"
    assert answer("iteration 12345 in before GAN") == "iteration 12,345 saved"
    assert answer("paused at iteration 5") == "paused at iteration 5" and answer("") == ""
