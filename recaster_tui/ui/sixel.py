"""A small picture as sixel text, for cells that are drawn by hand. Called in threads."""

import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLOURS = 48
_RUN = re.compile(rb"(.)\1{3,}")


def sixels(pixels: "NDArray[np.uint8]", colours: int = COLOURS) -> str:
    """The picture in DEC's sixel format (VT330/VT340 programmer reference, chapter 14).

    Args:
        pixels: (h, w, 3) uint8 RGB.
        colours: of the palette made for it, 2 to 256.
    """
    from PIL import Image

    image = Image.fromarray(pixels).quantize(colours, method=Image.Quantize.FASTOCTREE)
    table = np.array(image.getpalette() or [], np.int64).reshape(-1, 3)
    indices = np.asarray(image, np.int64)
    height, width = indices.shape
    padded = np.full((-(-height // 6) * 6, width), -1, np.int64)
    padded[:height] = indices
    out = [f'\x1bP0;1;0q"1;1;{width};{height}'.encode()]
    for i in np.unique(indices):
        red, green, blue = (round(int(v) * 100 / 255) for v in table[i])
        out.append(b"#%d;2;%d;%d;%d" % (i, red, green, blue))
    weights = np.array([1, 2, 4, 8, 16, 32], np.int64)[:, None]
    for top in range(0, padded.shape[0], 6):
        band = padded[top : top + 6]
        rows = []
        for i in np.unique(band[band >= 0]):
            line = ((band == i) * weights).sum(0).astype(np.uint8) + 63
            rows.append(b"#%d" % i + _RUN.sub(_packed, line.tobytes().rstrip(b"?")))
        out.append(b"$".join(rows) + b"-")
    return (b"".join(out) + b"\x1b\\").decode("ascii")


def _packed(found: "re.Match[bytes]") -> bytes:
    return b"!%d%s" % (len(found[0]), found[1])
