"""Google's face networks: equal to LiteRT's own answers, and to their layer graphs."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from recaster_tui.extraction.weights import fill, read_weights
from tests.nets.tflite_graph import NETS, Graph, named_weights

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def picture(name: str) -> Tensor:
    """A face, as the network wants it."""
    face = cv2.imread(str(DATA / "face_96.png"))
    x = torch.from_numpy(face[..., ::-1].copy()).float().permute(2, 0, 1)[None]
    side = NETS[name][1].side
    x = F.interpolate(x, (side, side), mode="bilinear")
    return x / 255 if name == "mesh" else x / 127.5 - 1


@torch.inference_mode()
def answers(name: str) -> tuple[Tensor, Tensor]:
    return fill(NETS[name][1](), read_weights(), name)(picture(name))


@pytest.mark.parametrize("name", ["full", "short"])
def test_the_detectors_answer_as_in_litert(name: str) -> None:
    """``mp_face_litert.npz`` was made with ai-edge-litert 2.3.0 from the original TFLite files."""
    with np.load(DATA / "mp_face_litert.npz") as golden:
        scores, best, boxes = (golden[f"{name}_{k}"] for k in ("scores", "best", "boxes"))
    found_boxes, found_scores = answers(name)
    np.testing.assert_allclose(found_scores[0], scores, atol=2e-5 * np.abs(scores).max())
    np.testing.assert_allclose(found_boxes[0][best], boxes, atol=2e-5 * np.abs(boxes).max())
    assert scores.max() > 0, "the picture shows no face"


def test_the_mesh_answers_as_in_litert() -> None:
    with np.load(DATA / "mp_face_litert.npz") as golden:
        wanted, presence = golden["mesh_points"], golden["mesh_presence"]
    points, found = answers("mesh")
    np.testing.assert_allclose(points[0], wanted, atol=0.01)  # pixels of 256
    np.testing.assert_allclose(found, presence, rtol=1e-3)


@pytest.fixture(scope="session")
def source() -> Path:
    shared = Path(os.environ.get("RECASTER_SHARED", Path(__file__).parents[2].parent / "shared"))
    if not (shared / "data" / "mp_face.json").is_file():
        pytest.skip(f"no layer graphs in {shared} (set RECASTER_SHARED)")
    return shared / "data"


@pytest.mark.parametrize("name", NETS)
@torch.inference_mode()
def test_the_modules_compute_their_graphs(source: Path, name: str) -> None:
    outputs = Graph(source, NETS[name][0])(picture(name).permute(0, 2, 3, 1))
    for ours, theirs in zip(answers(name), outputs, strict=False):
        torch.testing.assert_close(ours.flatten(), theirs.flatten(), rtol=1e-5, atol=1e-4)


def test_the_shipped_weights_are_the_originals(source: Path) -> None:
    shipped = read_weights()
    original = named_weights(source)
    assert shipped.keys() == original.keys()
    assert all(torch.equal(shipped[k], v.float()) for k, v in original.items())


@torch.inference_mode()
def test_a_batch_is_its_pictures() -> None:
    for name in NETS:
        net = fill(NETS[name][1](), read_weights(), name)
        one = picture(name)
        two = torch.cat((one, one.flip(3)))
        for both, single in zip(net(two), net(one.flip(3)), strict=True):
            torch.testing.assert_close(both[1:], single, rtol=1e-4, atol=1e-3)
