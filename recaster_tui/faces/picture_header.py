"""What a picture's header claims, before anything is decoded: a few bytes can claim gigabytes."""

from pathlib import Path

from PIL import Image, UnidentifiedImageError

from recaster_tui.errors import DamagedError

MAX_PIXELS = 1 << 27
"""Of a frame."""


def check_header(path: Path) -> None:
    """Refuse what is no picture, or too large for a frame.

    Raises:
        DamagedError: see above, or it cannot be read.
    """
    try:
        with Image.open(path) as header:
            width, height = header.size
    except Image.DecompressionBombError as error:
        raise DamagedError("its header claims too many pixels for a frame", where=path) from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise DamagedError("this is no picture, whatever its name says", where=path) from error
    if not 0 < width * height <= MAX_PIXELS:
        raise DamagedError(f"{width}×{height} pixels are too many for a frame", where=path)
