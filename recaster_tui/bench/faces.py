"""``recaster bench faces``: opening, measuring and editing large facesets."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from recaster_tui.bench.report import Row, median_row

FACES = 20_000
_DISTINCT = 64
_SIZE = 256
_VISIBLE = 40  # thumbnails of a terminal of 160 columns

_OPEN = """
import json, os, sys, threading, time
begun = time.perf_counter()
from pathlib import Path
from recaster_tui.faces.catalog import Catalog
from recaster_tui.faces.thumbnails import Thumbnails
imported = time.perf_counter()
folder, visible, whole = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "whole"
catalog = Catalog.open(folder)
opened = time.perf_counter()
left, done = set(range(visible)), threading.Event()
def ready(index):
    left.discard(index)
    if not left:
        done.set()
thumbnails = Thumbnails(catalog, ready, background=whole)
for i in range(visible):
    if thumbnails.get(i) is not None:
        ready(i)
done.wait()
first = time.perf_counter()
import psutil
rss = psutil.Process().memory_info().rss
result = {
    "count": len(catalog), "known": catalog.known, "import": imported - begun,
    "open": opened - imported, "first": first - begun, "rss": rss,
}
if whole:
    while thumbnails.made < len(catalog):
        time.sleep(0.2)
    result["thumbnails"] = time.perf_counter() - first
    begun = time.perf_counter()
    for _ in catalog.refresh():
        pass
    result["refresh"] = time.perf_counter() - begun
    result["rss_after"] = psutil.Process().memory_info().rss
    begun = time.perf_counter()
    for _ in range(20):
        catalog.sorted_by("sharpness", descending=True)
    result["sort"] = (time.perf_counter() - begun) / 20
thumbnails.close()
print(json.dumps(result))
"""


def measure() -> list[Row]:
    """The rows of the table; minutes, most of it waiting for 20,000 faces to be measured."""
    from recaster_tui.bench.face_grid import grid_rows

    return [*opening(), *editing(), *grid_rows()]


def opening(count: int = FACES) -> list[Row]:
    """How long it takes until thumbnails are seen, without and with the cache."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="recaster-bench-") as temporary:
        root = Path(temporary)
        folder, packed = root / "aligned", root / "packed" / "aligned"
        make_faces(folder, count)
        _pack(folder, packed)
        for where, what in ((folder, "a folder"), (packed, "a pack")):
            colds = []
            for _ in range(3):
                shutil.rmtree(root / "home", ignore_errors=True)
                colds.append(_child(root, where, "first"))
            cold = _child(root, where, "whole")
            warms = [_child(root, where, "first") for _ in range(3)]
            warm = warms[0]
            faces = f"{count:,} faces"
            rows += [
                _first(f"first thumbnails of {what} never seen", colds),
                _first(f"first thumbnails of {what} seen before", warms),
                Row(f"all thumbnails of {what}", cold["thumbnails"], "s", None, 1, faces),
                Row(f"all values of {what}", cold["refresh"], "s", None, 1, faces),
                Row(f"memory of {what}, opened", warm["rss"] / 2**20, "MB", None, 1, "RSS"),
                Row(
                    f"memory of {what}, all measured",
                    cold["rss_after"] / 2**20,
                    "MB",
                    None,
                    1,
                    f"RSS; sorting {cold['sort'] * 1000:.1f} ms",
                ),
            ]
        shutil.rmtree(folder)
    return rows


def editing(count: int = FACES) -> list[Row]:
    """How long edits of many faces take."""
    import time

    from recaster_tui.faces.edits import FaceEdits

    rows = []
    with tempfile.TemporaryDirectory(prefix="recaster-bench-") as temporary:
        folder = Path(temporary) / "aligned"
        make_faces(folder, count)
        names = sorted(path.name for path in folder.iterdir())
        edits = FaceEdits(folder)
        for what, act in (
            ("trash half of a folder", lambda: edits.trash(names[::2])),
            ("undo that", edits.undo),
            (
                "rename a whole folder",
                lambda: edits.rename(list(zip(names, names[1:] + names[:1], strict=True))),
            ),
            ("undo that too", edits.undo),
        ):
            begun = time.perf_counter()
            act()
            rows.append(Row(what, time.perf_counter() - begun, "s", None, 1, f"{count:,} faces"))
    return rows


def make_faces(folder: Path, count: int) -> None:
    """Write *count* faces of 256 px into *folder*, copies of 64 different ones."""
    import numpy as np

    from recaster_tui.faces.codec import write_face
    from recaster_tui.faces.face import Face
    from recaster_tui.faces.tables import MEAN_FACE_3D
    from recaster_tui.faces.types import FaceType

    folder.mkdir(parents=True)
    random = np.random.default_rng(1)
    points = MEAN_FACE_3D[:, :2].astype(np.float64)
    points = (points - points.min(0)) / np.ptp(points, axis=0)
    if points[8, 1] < points[27, 1]:  # the table's y axis points up
        points[:, 1] = 1 - points[:, 1]
    blobs = []
    for number in range(_DISTINCT):
        path = folder / "sample.jpg"
        # Smooth noise: compresses about as a face does.
        picture = _smooth(random.integers(0, 255, (_SIZE // 8, _SIZE // 8, 3), np.uint8))
        landmarks = points * _SIZE * 0.6 + _SIZE * 0.2 + random.normal(0, 1, (68, 2))
        face = Face(
            path=path,
            name=path.name,
            face_type=FaceType.WHOLE,
            landmarks=landmarks.astype(np.float32),
            shape=(_SIZE, _SIZE, 3),
            source_filename=f"{number:05}.png",
            source_rect=np.array([100, 100, 300, 300]),
            source_landmarks=(landmarks * 2).astype(np.float32),
        )
        write_face(path, picture, face, durable=False)
        blobs.append(path.read_bytes())
        path.unlink()
    for number in range(count):
        (folder / f"{number:05}_0.jpg").write_bytes(blobs[number % _DISTINCT])


def _first(what: str, results: list[dict[str, Any]]) -> Row:
    imports, names = (statistics.median(r[key] for r in results) for key in ("import", "open"))
    note = f"new process: import {imports:.2f} s, names {names:.2f} s; files in the page cache"
    return median_row(what, [r["first"] for r in results], "s", 1.0, note)


def _smooth(small: Any) -> Any:
    import cv2
    import numpy as np

    large = cv2.resize(small, (_SIZE, _SIZE), interpolation=cv2.INTER_CUBIC)
    noise = np.random.default_rng(2).normal(0, 4, large.shape)
    return np.clip(large + noise, 0, 255).astype(np.uint8)


def _pack(folder: Path, packed: Path) -> None:
    from recaster_tui.faces.faceset import open_faceset
    from recaster_tui.faces.pack import write_pack

    packed.mkdir(parents=True)
    write_pack(packed / "faceset.pak", open_faceset(folder).faces)


def _child(root: Path, folder: Path, mode: str) -> dict[str, Any]:
    environment = {**os.environ, "RECASTER_HOME": str(root / "home")}
    command = [sys.executable, "-c", _OPEN, str(folder), str(_VISIBLE), mode]
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(output.stdout.splitlines()[-1])
    return result
