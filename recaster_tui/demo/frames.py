"""One frame of the demo: render it, cut the aligned face out, write both."""

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.demo.people import Person, demo_source, demo_target
from recaster_tui.demo.plan import SIDES, DemoFiles, DemoPlan
from recaster_tui.demo.render import Rendering, render
from recaster_tui.demo.scene import scene_at
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
    rendering = _rendering(plan, side, index)
    encoded = encode_jpeg(rendering.image)
    write_atomic(files.frame(side, index), encoded.tobytes(), durable=False)
    frame = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)

    matrix = alignment_matrix(rendering.landmarks68, plan.size, FACE_TYPE)
    aligned = cv2.warpAffine(frame, matrix, (plan.size, plan.size), flags=cv2.INTER_CUBIC)
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
    write_face(path, encode_jpeg(np.asarray(aligned, np.uint8)).tobytes(), face)


def exact_mask(plan: DemoPlan, side: str, index: int) -> NDArray[np.uint8]:
    """The exact face mask (size, size), 0 or 1, of a demo's face: rendered again, not stored."""
    rendering = _rendering(plan, side, index)
    matrix = alignment_matrix(rendering.landmarks68, plan.size, FACE_TYPE)
    return aligned_mask(rendering, matrix, plan.size)


def _rendering(plan: DemoPlan, side: str, index: int) -> Rendering:
    clip = 2 * plan.seed + SIDES.index(side)
    return render(demo_person(side), scene_at(clip, index), *plan.frame_size)


def encode_jpeg(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """JPEG bytes of a BGR picture, colour at full resolution: lips and eyes are small."""
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    done, encoded = cv2.imencode(".jpg", image, options)
    if not done:
        raise OSError("OpenCV could not encode a JPEG")
    return np.asarray(encoded, np.uint8).reshape(-1)
