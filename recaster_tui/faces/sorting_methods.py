"""The sorts there are: DFL's, what each reads and what it measures (dfl-data.md 6.2)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from recaster_tui.faces import sorting_measures as measures
from recaster_tui.faces.face import Face


class Needs(StrEnum):
    """What of a face a sort reads."""

    METADATA = "metadata"
    PIXELS = "pixels"
    NAMES = "names"


class Kind(StrEnum):
    """What a sort makes: a figure of each face, an order of all, or a selection."""

    VALUE = "value"
    ORDER = "order"
    SELECTION = "selection"


Measure = Callable[[measures.Image | None, Face | None], Any]


@dataclass(frozen=True)
class SortMethod:
    """A sort.

    Attributes:
        key: its name on the command line.
        label: for lists on the screen.
        help: one line.
        needs: what it reads; without the metadata a file is dropped, if they are needed.
        kind: see :class:`Kind`.
        ascending: the smallest first; otherwise the largest.
        drops_zero: a figure of 0 means that the face is useless.
    """

    key: str
    label: str
    help: str
    needs: frozenset[Needs]
    kind: Kind = Kind.VALUE
    ascending: bool = False
    drops_zero: bool = False
    measure: Measure = field(default=lambda *_: None, repr=False, compare=False)


def _of_pixels(function: Callable[[measures.Image], Any]) -> Measure:
    return lambda image, _: None if image is None else function(image)


def _of_both(function: Callable[[measures.Image, Face], Any]) -> Measure:
    return lambda image, face: None if image is None or face is None else function(image, face)


def _of_metadata(function: Callable[[Face], Any]) -> Measure:
    return lambda _, face: None if face is None else function(face)


_PIXELS = frozenset({Needs.PIXELS})
METADATA = frozenset({Needs.METADATA})
_BOTH = _PIXELS | METADATA

SORTS: Mapping[str, SortMethod] = {
    method.key: method
    for method in (
        SortMethod("blur", "sharpness (CPBD)", "the sharpest first; drops those without any edge",
                   _BOTH, drops_zero=True, measure=_of_both(measures.sharpness)),
        SortMethod("motion-blur", "motion blur", "the least motion-blurred first",
                   _BOTH, drops_zero=True, measure=_of_both(measures.motion_sharpness)),
        SortMethod("face-yaw", "yaw", "from one profile to the other",
                   METADATA, measure=_of_metadata(measures.yaw)),
        SortMethod("face-pitch", "pitch", "from looking up to looking down",
                   METADATA, measure=_of_metadata(measures.pitch)),
        SortMethod("face-source-rect-size", "size in the frame", "the largest in their frame first",
                   METADATA, measure=_of_metadata(measures.rect_area)),
        SortMethod("hist", "similar colours", "each next to the one with the most similar colours",
                   _PIXELS, Kind.ORDER, measure=_of_pixels(measures.colour_histograms)),
        SortMethod("hist-dissim", "different grays", "the most different from all others first",
                   _PIXELS,
                   measure=lambda image, face:
                   None if image is None else measures.gray_histogram(image, face)),
        SortMethod("brightness", "brightness", "the brightest first",
                   _PIXELS, measure=_of_pixels(measures.brightness)),
        SortMethod("hue", "hue", "by mean hue", _PIXELS, measure=_of_pixels(measures.hue)),
        SortMethod("black", "black area", "the least black first: those cut off by the frame last",
                   _PIXELS, ascending=True, measure=_of_pixels(measures.black_values)),
        SortMethod("origname", "frame", "by the name of the frame",
                   METADATA, Kind.ORDER, measure=_of_metadata(lambda face: face.source_filename)),
        SortMethod("oneface", "one face a frame", "drops all faces of frames with several",
                   frozenset({Needs.NAMES}), Kind.SELECTION),
        SortMethod("absdiff", "similar pictures", "each next to the picture that differs least",
                   _PIXELS, Kind.ORDER, measure=_of_pixels(measures.thumbnail)),
        SortMethod("absdiff-dissim", "different pictures",
                   "each next to the picture that differs most",
                   _PIXELS, Kind.ORDER, measure=_of_pixels(measures.thumbnail)),
        SortMethod("final", "best faces", "a selection of the sharpest over all poses",
                   _BOTH, Kind.SELECTION,
                   measure=_of_both(lambda image, face: (
                       measures.sharpness(image, face), measures.yaw(face), measures.pitch(face),
                       measures.gray_histogram(image, None)))),
        SortMethod("final-fast", "best faces, quick", "the same by size in the frame",
                   _BOTH, Kind.SELECTION,
                   measure=_of_both(lambda image, face: (
                       measures.rect_area(face), measures.yaw(face), measures.pitch(face),
                       measures.gray_histogram(image, None)))),
    )
}  # fmt: skip
"""DFL's sorts by key, in the order of its dialog."""
