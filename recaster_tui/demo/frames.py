"""One frame of the demo: render it, cut the aligned face out, write both."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.demo.people import Person, demo_source, demo_target
from recaster_tui.demo.plan import SIDES, DemoFiles, DemoPlan, frame_size
from recaster_tui.demo.render import Rendering, render
from recaster_tui.demo.scene import Scene, scene_at
from recaster_tui.demo.truth import aligned_mask, outlines
from recaster_tui.faces.codec import write_face
from recaster_tui.faces.face import Face
from recaster_tui.faces.geometry import alignment_matrix, landmarks_rect, transform_points
from recaster_tui.faces.types import FaceType
from recaster_tui.files import write_atomic

JPEG_QUALITY = 95
FACE_TYPE = FaceType.WHOLE


@lru_cache(maxsize=2)
def demo_person(side: str) -> Person:
    """The person of ``src`` or ``dst`` (baked once per process)."""
    return demo_source() if side == "src" else demo_target()


def write_frame(folder: Path, plan: DemoPlan, side: str, index: int) -> None:
    """Write frame *index* (from 0) of *side* and its aligned face, with complete metadata.

    The face is cut from the frame as stored, as an extractor would: applying the stored matrix
    to the stored frame gives the face but for its own JPEG. The polygons outline the exact face
    mask (:func:`recaster_tui.demo.render.face_area`), for XSeg.

    Raises:
        OSError: the disk does not take it.
    """
    files = DemoFiles(folder)
    cut = _cut(demo_person(side), demo_scene(plan.seed, side, index), plan.size)
    rendering, matrix = cut.rendering, cut.matrix
    write_atomic(files.frame(side, index), cut.jpeg.tobytes(), durable=False)
    path = files.face(side, index)
    face = Face(
        path=path,
        name=path.name,
        face_type=FACE_TYPE,
        landmarks=transform_points(rendering.landmarks68, matrix),
        shape=(plan.size, plan.size, 3),
        source_filename=files.frame(side, index).name,
        source_rect=np.round(landmarks_rect(rendering.landmarks68)).astype(np.int64),
        source_landmarks=rendering.landmarks68,
        image_to_face_mat=matrix,
        polygons=outlines(aligned_mask(rendering, matrix, plan.size)),
    )
    write_face(path, encode_jpeg(cut.aligned).tobytes(), face)


def demo_scene(seed: int, side: str, index: int) -> Scene:
    """What frame *index* of *side* shows in the demo of *seed*."""
    return scene_at(2 * seed + SIDES.index(side), index)


def exact_face(
    person: Person, scene: Scene, size: int = 256
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """An aligned face as the demo would store it, and its exact mask; nothing is written.

    Returns:
        (size, size, 3) BGR, and (size, size) of 0 and 1 (see ``render.face_area``).
    """
    cut = _cut(person, scene, size)
    picture = cv2.imdecode(encode_jpeg(cut.aligned), cv2.IMREAD_COLOR)
    return np.asarray(picture, np.uint8), aligned_mask(cut.rendering, cut.matrix, size)


@dataclass(frozen=True)
class _Cut:
    rendering: Rendering
    jpeg: NDArray[np.uint8]  # of the frame
    matrix: NDArray[np.float64]
    aligned: NDArray[np.uint8]


def _cut(person: Person, scene: Scene, size: int) -> _Cut:
    rendering = render(person, scene, *frame_size(size))
    jpeg = encode_jpeg(rendering.image)
    frame = np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), np.uint8)
    matrix = alignment_matrix(rendering.landmarks68, size, FACE_TYPE)
    aligned = cv2.warpAffine(frame, matrix, (size, size), flags=cv2.INTER_CUBIC)
    return _Cut(rendering, jpeg, matrix, np.asarray(aligned, np.uint8))


def encode_jpeg(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """JPEG bytes of a BGR picture, colour at full resolution: lips and eyes are small."""
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    done, encoded = cv2.imencode(".jpg", image, options)
    if not done:
        raise OSError("OpenCV could not encode a JPEG")
    return np.asarray(encoded, np.uint8).reshape(-1)
