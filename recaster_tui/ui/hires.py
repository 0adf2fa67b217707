"""Sixel and kitty pictures through textual-image, where the probe proved them and it is there.

textual-image asks the terminal when it is imported, which hangs or leaks key presses on some
(spec/terminal.md 5.3). We have asked already: it is imported with a standard output that is no
terminal, so that it asks nothing and takes the cell size from the environment.
"""

import io
import logging
import os
import sys
from typing import Any

from textual.widget import Widget

from recaster_tui.ui.terminal import Images, TerminalInfo

log = logging.getLogger(__name__)

USUAL_CELL = (10, 20)
SIXEL_COLOURS = 64
"""A 400 pixel photograph takes 116 KiB with 64 colours, 193 KiB with 256."""


def pixel_widget(terminal: TerminalInfo | None) -> Widget | None:
    """An empty image widget of the terminal's protocol; None where half-blocks must do."""
    if terminal is None or terminal.images not in (Images.SIXEL, Images.KITTY):
        return None
    width, height = terminal.cell or USUAL_CELL
    os.environ.setdefault("TEXTUAL_CELL_WIDTH", str(width))
    os.environ.setdefault("TEXTUAL_CELL_HEIGHT", str(height))
    real: Any = sys.__stdout__
    try:
        sys.__stdout__ = io.StringIO()  # type: ignore[misc, assignment]
        from textual_image import widget
    except Exception:  # whatever it trips over, half-blocks still work
        log.exception("textual-image cannot be used")
        return None
    finally:
        sys.__stdout__ = real  # type: ignore[misc]
    made: Widget
    if terminal.images is Images.KITTY:
        made = widget.TGPImage(id="pixels")
    else:
        options = widget.SixelOptions(colors=SIXEL_COLOURS)
        made = widget.SixelImage(id="pixels", sixel_options=options)
    made.can_focus = False
    made.display = False
    return made
