"""``recaster faces mask --serve``: masks on demand, for the editor.

One JSON object a line comes in, one goes out, in the same order::

    {"id": 1, "face": "/path/00001_0.jpg"}
    {"id": 1, "polygons": [{"include": true, "points": [[x, y], …]}], "seconds": 0.11}
    {"id": 2, "error": "the file is empty", "hint": null}

A face in a pack is asked for by ``"face": "/path/faceset.pak", "name": "00001_0.jpg"``. The end of
the input ends the server.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from recaster_tui.errors import BadInputError, RecasterError
from recaster_tui.faces.catalog import Catalog
from recaster_tui.faces.codec import decode_pixels, read_face
from recaster_tui.masking.apply import to_polygons
from recaster_tui.masking.masker import Masker

_MAX_LINE = 1 << 20


def serve(requests: TextIO, answers: TextIO, load: Callable[[], Masker]) -> None:
    """Answer requests until there are no more.

    Args:
        requests: lines in.
        answers: lines out, flushed one by one.
        load: the masker, made when the first face is asked for.
    """
    masker: Masker | None = None
    while line := requests.readline(_MAX_LINE):
        if not line.strip():
            continue
        begun = time.monotonic()
        number: Any = None
        try:
            request = _parse(line)
            number = request.get("id")
            if not isinstance(request.get("face"), str):
                raise BadInputError('a request names a "face"')
            if masker is None:
                masker = load()
            answer = {"id": number, "polygons": _polygons(request, masker)}
            answer["seconds"] = round(time.monotonic() - begun, 4)
        except RecasterError as error:
            answer = {"id": number, "error": error.message, "hint": error.hint}
        except Exception as error:  # the editor must hear of it, and the next face may be fine
            answer = {"id": number, "error": f"unexpected {type(error).__name__}: {error}"}
        try:
            answers.write(json.dumps(answer) + "\n")
            answers.flush()
        except BrokenPipeError:
            return


def _parse(line: str) -> dict[str, Any]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"the request is no JSON ({error})") from None
    if not isinstance(request, dict):
        raise BadInputError('a request is an object with "id" and "face"')
    return request


def _polygons(request: dict[str, Any], masker: Masker) -> list[dict[str, Any]]:
    path = Path(request["face"])
    name = request.get("name")
    if isinstance(name, str):
        catalog = Catalog.open(path)
        index = catalog.index(name)
        if index is None:
            raise BadInputError(f"there is no face {name}", where=path)
        face, picture = catalog.face(index), catalog.pixels(index)
    else:
        face, picture = read_face(path), decode_pixels(path)
    mask = masker.masks([(face, picture)])[0]
    return [
        {"include": p.include, "points": [[round(float(v), 2) for v in xy] for xy in p.points]}
        for p in to_polygons(mask, face.shape[1], face.shape[0])
    ]
