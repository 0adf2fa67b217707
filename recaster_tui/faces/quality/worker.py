"""A helper process of a check: ``python -m recaster_tui.faces.quality.worker FOLDER``.

A line on stdin is a JSON list of names; the answer is a line with a number and so many bytes
(see ``wire``). A plain pipe, as in ``demo.worker``: nothing is pickled, and a helper whose parent
is gone sees the end of its input and leaves.
"""

import json
import logging
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from recaster_tui.faces.catalog_source import find_source
from recaster_tui.faces.face import Face, FaceFileError
from recaster_tui.faces.quality.measure import Measurement, measure, stack
from recaster_tui.faces.quality.wire import to_bytes

log = logging.getLogger(__name__)

Damage = dict[str, tuple[str, str]]


class Measurer:
    """Measures faces of one folder or pack by their names."""

    def __init__(self, folder: Path) -> None:
        self._source = find_source(folder)
        self._rows = self._source.rows(None)
        self._index = {name: i for i, name in enumerate(self._rows.names)}

    def __call__(self, names: Iterable[str]) -> tuple[list[str], list[Measurement], Damage]:
        """Names and measurements of the good ones; code and message of the others."""
        good: list[str] = []
        found: list[Measurement] = []
        damage: Damage = {}
        for name in names:
            try:
                found.append(measure(self._face(name)))
                good.append(name)
            except FaceFileError as error:
                damage[name] = error.code, error.message
            except Exception as error:  # one strange file must not end the check of the others
                log.exception("cannot measure %r", name)
                damage[name] = "damaged", f"cannot be measured ({type(error).__name__}: {error})"
        return good, found, damage

    def _face(self, name: str) -> Face:
        index = self._index.get(name)
        if index is None:
            raise FaceFileError("the file is gone", code="unreadable")
        return self._source.face(self._rows, index)


def main(arguments: list[str]) -> int:
    """Serve until the input ends."""
    import cv2

    cv2.setNumThreads(1)  # there is one helper per core already
    measurer = Measurer(Path(os.fsdecode(arguments[0])))
    out = sys.stdout.buffer
    for line in sys.stdin:
        names, found, damage = measurer(json.loads(line))
        data = to_bytes(stack(found), {"names": names, "damage": damage})
        out.write(b"%d\n" % len(data))
        out.write(data)
        out.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
