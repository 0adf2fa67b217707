"""DFM files: run by onnxruntime they give the printed numbers of the original, and torch's."""

import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from interop_kit import amp, plain_model, saehd

from recaster_tui.errors import BadInputError, EnvironmentProblem
from recaster_tui.interop import dfm
from recaster_tui.interop.dfl_layout import dfl_key, dfl_shape, from_dfl
from recaster_tui.interop.networks import shapes_of
from recaster_tui.options import Quick96Options, TrainingOptions

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

FACE = np.random.RandomState(12345).uniform(size=(1, 64, 64, 3)).astype(np.float32)
MASK, CELEB, CELEB_MASK = dfm.OUTPUTS

# dfl-models.md 11.4: mean, std, elements 0, n/3, n/2, 2n/3, n-1 of what the original exported
AMP_MASK = [0.489930, 0.025693, 0.501237, 0.474779, 0.482598, 0.477503, 0.495544]
AMP = {
    0.0: ([0.492218, 0.055992, 0.510145, 0.505989, 0.507146, 0.443842, 0.443454], AMP_MASK),
    0.25: (
        [0.492059, 0.054995, 0.511966, 0.461319, 0.535519, 0.457802, 0.450421],
        [0.489494, 0.026312, 0.497532, 0.492701, 0.493152, 0.444861, 0.492372],
    ),
    0.5: (
        [0.492168, 0.055464, 0.500999, 0.441573, 0.499445, 0.451000, 0.446519],
        [0.490035, 0.025534, 0.498661, 0.475538, 0.492967, 0.446569, 0.488735],
    ),
    0.99: (
        [0.492582, 0.051676, 0.509900, 0.483334, 0.517069, 0.465820, 0.444142],
        [0.491020, 0.024739, 0.498371, 0.458790, 0.484424, 0.446955, 0.494402],
    ),
    1.0: (
        [0.492837, 0.051431, 0.512927, 0.495322, 0.522340, 0.464427, 0.439123],
        [0.490940, 0.024724, 0.499490, 0.456019, 0.484601, 0.442646, 0.495404],
    ),
}
SAEHD = {
    MASK: [0.508271, 0.019007, 0.512666, 0.502516, 0.544612, 0.525272, 0.518121],
    CELEB: [0.513152, 0.051496, 0.460728, 0.635090, 0.467415, 0.456006, 0.520790],
    CELEB_MASK: [0.508766, 0.019125, 0.513505, 0.507203, 0.506557, 0.495437, 0.528631],
}


def spec_weights(options: TrainingOptions) -> dict[str, Any]:
    """The deterministic weights of dfl-models.md 11.1."""
    result = {}
    for net, params in shapes_of(options).items():
        for name, shape in params.items() if net not in ("dis", "D_src", "GAN") else ():
            key, saved = dfl_key(name), dfl_shape(shape)
            random = np.random.RandomState(zlib.crc32(f"{net}/{key}".encode()))
            values = random.normal(size=saved)
            values *= 0.05 if len(saved) == 1 else 1 / np.sqrt(np.prod(saved[:-1]))
            result[f"{net}/{name}"] = from_dfl(values.astype(np.float32))
    return result


def figures(array: np.ndarray) -> list[float]:
    flat, n = array.reshape(-1), array.size
    return [flat.mean(), flat.std(), *flat[[0, n // 3, n // 2, 2 * n // 3, n - 1]]]


def test_saehd_gives_the_originals_numbers(tmp_path: Path) -> None:
    options = saehd()
    exported = dfm.export_dfm(options, spec_weights(options), tmp_path / "a.dfm")
    assert exported.deviation is not None and exported.deviation < 1e-5
    out = dfm.run_dfm(exported.path, {"in_face:0": FACE})
    assert list(out) == list(dfm.OUTPUTS)
    for name, want in SAEHD.items():
        assert figures(out[name]) == pytest.approx(want, abs=2e-6), name
    assert [p.name for p in tmp_path.iterdir()] == ["a.dfm"]


def test_amp_gives_the_originals_numbers_at_every_morph(tmp_path: Path) -> None:
    options = amp()
    path = dfm.export_dfm(options, spec_weights(options), tmp_path / "a.dfm").path
    for morph, (celeb, celeb_mask) in AMP.items():
        out = dfm.run_dfm(path, {"in_face:0": FACE, "morph_value:0": np.array([morph], "f4")})
        assert figures(out[MASK]) == pytest.approx(AMP_MASK, abs=2e-6)
        assert figures(out[CELEB]) == pytest.approx(celeb, abs=2e-6), morph
        assert figures(out[CELEB_MASK]) == pytest.approx(celeb_mask, abs=2e-6), morph


@pytest.mark.parametrize("architecture", ["df-ud", "liae-tc", "amp"])
def test_the_file_is_what_players_expect(architecture: str, tmp_path: Path) -> None:
    options = amp() if architecture == "amp" else saehd(architecture)
    plain = plain_model(options)
    weights = {k: v * 0.02 for k, v in plain.weights.items()}
    whole = dfm.export_dfm(options, weights, tmp_path / "a.dfm")
    half = dfm.export_dfm(options, weights, tmp_path / "q.dfm", quantize=True)
    assert half.bytes < 0.6 * whole.bytes
    assert whole.deviation is not None and whole.deviation < 1e-4
    assert half.deviation is not None and half.deviation < 5e-3
    for path in (whole.path, half.path):
        model = onnx.load(str(path))
        assert model.ir_version == 7
        assert [(o.domain, o.version) for o in model.opset_import] == [("", 12)]
        described = {
            v.name: (
                v.type.tensor_type.elem_type,
                [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim],
            )
            for v in (*model.graph.input, *model.graph.output)
        }
        assert described == {
            "in_face:0": (onnx.TensorProto.FLOAT, ["batch", 64, 64, 3]),
            **({"morph_value:0": (onnx.TensorProto.FLOAT, [1])} if architecture == "amp" else {}),
            "out_face_mask:0": (onnx.TensorProto.FLOAT, ["batch", 64, 64, 1]),
            "out_celeb_face:0": (onnx.TensorProto.FLOAT, ["batch", 64, 64, 3]),
            "out_celeb_face_mask:0": (onnx.TensorProto.FLOAT, ["batch", 64, 64, 1]),
        }
        kinds = {t.data_type for t in model.graph.initializer if len(t.dims) == 4}
        assert kinds == {onnx.TensorProto.FLOAT16 if path is half.path else onnx.TensorProto.FLOAT}
    # Twenty faces at once: onnxruntime against torch, and quantised against whole.
    feeds = {"in_face:0": twenty_faces(64)}
    if architecture == "amp":
        feeds["morph_value:0"] = np.array([0.6], np.float32)
    module = dfm.swap_module(options, weights)
    with torch.inference_mode():
        wanted = module(*(torch.from_numpy(value) for value in feeds.values()))
    a, b = dfm.run_dfm(whole.path, feeds), dfm.run_dfm(half.path, feeds)
    for name, want in zip(dfm.OUTPUTS, wanted, strict=True):
        assert a[name].shape[0] == 20 and np.abs(a[name] - want.numpy()).max() < 1e-3
        assert np.abs(a[name] - b[name]).max() < 0.02


def twenty_faces(size: int) -> np.ndarray:
    """The fixtures' faces, upright, mirrored, darker, shifted: (20, size, size, 3) in 0..1."""
    files = sorted((Path(__file__).parents[1] / "data" / "faces").glob("aligned_*.jpg"))
    pictures = [cv2.resize(cv2.imread(str(f)), (size, size)) for f in files]
    changes = (lambda x: x, lambda x: x[:, ::-1], lambda x: x // 2, lambda x: np.roll(x, 9, 1))
    faces = [change(p) for p in pictures for change in (*changes, lambda x: 255 - x)]
    return np.stack(faces[:20]).astype(np.float32) / 255


def test_what_cannot_be_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInputError, match="Quick96"):
        dfm.export_dfm(Quick96Options(), {}, tmp_path / "a.dfm")
    monkeypatch.setattr(dfm, "find_spec", lambda name: None)
    with pytest.raises(EnvironmentProblem, match="onnx") as caught:
        dfm.export_dfm(saehd(), {}, tmp_path / "a.dfm")
    assert "recaster_tui[export]" in str(caught.value)
    assert not list(tmp_path.iterdir())
