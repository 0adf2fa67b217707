"""DFL's files: what the original wrote is read whole, what we write the original can read."""

import json
import pickle
import pickletools
from pathlib import Path

import numpy as np
import pytest
from interop_kit import amp, old_loads, plain_model, saehd, same

from recaster_tui.errors import BadInputError, DamagedError
from recaster_tui.interop import dfl_write, networks
from recaster_tui.interop.dfl_convert import PlainModel, from_dfl_model, to_dfl_model
from recaster_tui.interop.dfl_folder import dfl_entry, find_dfl_models, parts
from recaster_tui.interop.dfl_read import read_model, read_state
from recaster_tui.interop.dfl_summary import summary
from recaster_tui.interop.dfl_write import write_model
from recaster_tui.interop.remarks import Level, Remarks
from recaster_tui.nets import xseg
from recaster_tui.options import ModelClass, Quick96Options, TrainingOptions, XsegOptions, from_dfl
from recaster_tui.protocol.losses import LOSS_DTYPE

# --- what the original wrote ----------------------------------------------------------------


def test_everything_of_a_golden_is_read(golden: Path) -> None:
    (entry,) = find_dfl_models(golden)
    model = read_model(entry)
    state = pickle.loads(entry.data.read_bytes())
    expected = json.loads((golden / "expected.json").read_text())
    assert model.iteration == state["iter"] == expected["iter"]
    assert same(model.options, state["options"])
    assert same(model.loss_history, state["loss_history"])
    assert same(model.sample_for_preview, state["sample_for_preview"])
    read = model.networks | model.optimizers
    files = {p.name: p for p in golden.glob("*.npy")}
    for part in parts(entry.model_class, liae=model.liae):
        path = files.pop(entry.path(part.suffix).name, None)
        assert (path is None) == (part.object not in read)
        if path is not None:
            assert same(read[part.object], pickle.loads(path.read_bytes())), path
    assert not files
    assert summary(model) == entry.path("summary.txt").read_text()


def test_options_and_history_become_ours(golden: Path) -> None:
    (entry,) = find_dfl_models(golden)
    remarks = Remarks()
    model = read_model(entry)
    plain = from_dfl_model(model, remarks)
    # The goldens' networks are smaller than a user may ask for; nothing else is remarked on.
    assert {r.text.split()[0] for r in remarks} == {
        "encoder_dims", "decoder_dims", "mask_decoder_dims",
    }  # fmt: skip
    o = plain.options
    assert (o.resolution, o.face_type, o.encoder_dims, o.mask_decoder_dims) == (64, "whole", 4, 2)
    assert o.random_dst_flip and not o.random_src_flip and o.gan_smoothing == 0
    assert plain.losses["iteration"].tolist() == [1, 2, 3, 4, 5, 6]
    history = np.array(model.loss_history)
    assert np.array_equal(plain.losses["src"], history[:, 0])
    assert np.array_equal(plain.losses["dst"], history[:, 1])
    assert plain.optimizer["src_dst_opt/iterations"] == model.optimizers["src_dst_opt"]["iters:0"]


def test_reading_writing_reading_is_bit_identical(golden: Path, tmp_path: Path) -> None:
    (entry,) = find_dfl_models(golden)
    model = read_model(entry)
    back = to_dfl_model(from_dfl_model(model, Remarks()), "new", Remarks())
    written = write_model(dfl_entry(tmp_path, "new", entry.model_class), back)
    for path in written.files:
        if path.suffix == ".npy":
            ours, theirs = path.read_bytes(), (golden / path.name).read_bytes()
            assert same(pickle.loads(ours), pickle.loads(theirs)), path
    mine, yours = (pickle.loads((f / entry.data.name).read_bytes()) for f in (tmp_path, golden))
    assert same(mine, yours)
    assert (
        entry.path("summary.txt").read_text()
        == (tmp_path / f"new_{entry.model_class.title}_summary.txt").read_text()
    )
    again = read_model(dfl_entry(tmp_path, "new", entry.model_class))
    assert same(again.networks, model.networks) and same(again.optimizers, model.optimizers)


# --- what we write --------------------------------------------------------------------------

MODELS: list[TrainingOptions] = [
    saehd("df-ud", true_face_power=0.01, gan_power=0.1, gan_dims=4, gan_patch_size=8),
    saehd("liae-t", optimizer="rmsprop", gan_power=0.1, gan_dims=4),
    amp(gan_power=0.1, gan_dims=4),
]


@pytest.mark.parametrize("options", MODELS, ids=lambda o: type(o).__name__)
def test_an_installation_of_dfl_reads_what_we_write(
    options: TrainingOptions, tmp_path: Path
) -> None:
    plain = plain_model(options)
    dfl = to_dfl_model(plain, "fresh", Remarks())
    entry = dfl_entry(tmp_path, "fresh", plain.model_class)
    written = write_model(entry, dfl)
    for path in written.files:
        raw = path.read_bytes()
        if path.suffix == ".txt":
            continue
        assert raw[1] == (4 if path.suffix == ".npy" else 3)
        assert max(op.proto for op, _, _ in pickletools.genops(raw)) <= raw[1]
        content = old_loads(raw)
        for key, value in content.items() if path.suffix == ".npy" else ():
            if key == "iters:0":
                assert type(value) is np.int64 and value == 2
            else:
                assert value.dtype == np.dtype("<f4") and value.flags.c_contiguous
    state = old_loads(entry.data.read_bytes())
    assert list(state) == [
        "iter", "options", "loss_history", "sample_for_preview", "choosed_gpu_indexes",
    ]  # fmt: skip
    assert state["iter"] == 3 == len(state["loss_history"])
    stored = state["options"]
    assert type(stored["resolution"]) is type(stored["ae_dims"]) is np.int64
    assert type(stored["gan_power"]) is np.float64 and type(stored["batch_size"]) is int
    known, _ = from_dfl(plain.model_class, stored)
    assert known["gan_dims"] == 4 and known["random_warp"] is True
    assert old_loads(entry.default_options.read_bytes()).keys() == stored.keys()
    # And back: nothing lost, nothing to remark on.
    remarks = Remarks()
    again = from_dfl_model(read_model(entry), remarks)
    assert not [r for r in remarks if r.level is not Level.NOTE]
    # 0 stands for an eighth of the resolution and is written as that.
    patch = options.effective_gan_patch_size
    assert again.options == options.model_copy(update={"gan_patch_size": patch})
    assert same(dict(sorted(again.weights.items())), dict(sorted(plain.weights.items())))
    assert same(dict(sorted(again.optimizer.items())), dict(sorted(plain.optimizer.items())))
    for column in ("iteration", "src", "dst"):
        assert np.array_equal(again.losses[column], plain.losses[column])


def test_xseg_has_its_own_names_and_one_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = xseg.XSeg
    monkeypatch.setattr(networks.xseg, "XSeg", lambda: small(2))
    plain = plain_model(XsegOptions(face_type="head"))
    plain.losses["dst"] = np.nan
    dfl = to_dfl_model(plain, "ignored", Remarks())
    entry = dfl_entry(tmp_path, "ignored", ModelClass.XSEG)
    written = write_model(entry, dfl)
    assert sorted(p.name for p in written.files) == [
        "XSeg_256.npy", "XSeg_256_opt.npy", "XSeg_data.dat", "XSeg_default_options.dat",
        "XSeg_summary.txt",
    ]  # fmt: skip
    state = old_loads(entry.data.read_bytes())
    assert [len(row) for row in state["loss_history"]] == [1, 1, 1]
    assert state["options"]["face_type"] == "head"
    assert find_dfl_models(tmp_path) == [entry]
    again = from_dfl_model(read_model(entry), Remarks())
    assert same(again.weights, plain.weights) and np.isnan(again.losses["dst"]).all()


def test_the_sizes_of_the_fixed_networks() -> None:
    def count(options: TrainingOptions) -> dict[str, tuple[int, int]]:
        return {
            net: (len(params), sum(int(np.prod(s)) for s in params.values()))
            for net, params in networks.shapes_of(options).items()
        }

    # dfl-models.md 3.4 and 6.2
    assert count(XsegOptions()) == {"XSeg": (222, 17_569_317)}
    assert count(Quick96Options()) == {
        "encoder": (8, 4_306_560), "inter": (6, 3_098_368),
        "decoder_src": (36, 15_444_701), "decoder_dst": (36, 15_444_701),
    }  # fmt: skip


def test_a_gap_in_the_history_is_written_as_zero_and_said(tmp_path: Path) -> None:
    plain = plain_model(saehd(), 5, leave=("dis", "D_src"))
    plain.losses = plain.losses[[1, 4]]
    remarks = Remarks()
    dfl = to_dfl_model(plain, "a", remarks)
    assert [row == [0.0, 0.0] for row in dfl.loss_history] == [True, False, True, True, False]
    assert "3 of 5 losses" in next(r.text for r in remarks if r.where == "loss_history")


def test_iteration_0_is_not_exported(tmp_path: Path) -> None:
    plain = plain_model(saehd(), 1, leave=("dis", "D_src"))
    plain = PlainModel(0, plain.options, plain.weights, {}, np.empty(0, LOSS_DTYPE))
    with pytest.raises(BadInputError, match="iteration 0"):
        write_model(dfl_entry(tmp_path, "a", ModelClass.SAEHD), to_dfl_model(plain, "a", Remarks()))
    assert not list(tmp_path.iterdir())


def test_overwriting_keeps_the_old_set_and_failing_leaves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = dfl_entry(tmp_path, "a", ModelClass.SAEHD)
    dfl = to_dfl_model(plain_model(saehd()), "a", Remarks())
    write_model(entry, dfl)
    old = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    dfl.iteration, dfl.loss_history = 4, [*dfl.loss_history, [1.0, 2.0]]
    with pytest.raises(BadInputError, match="already"):
        write_model(entry, dfl)
    rename, calls = Path.rename, []

    def failing(self: Path, target: Path) -> Path:
        calls.append(self)
        if len(calls) == 14:  # in the middle of the new files
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="space"):
        write_model(entry, dfl, overwrite=True)
    assert len(calls) > 14, "what was moved is moved back"
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == old
    monkeypatch.undo()
    written = write_model(entry, dfl, overwrite=True)
    assert written.replaced is not None and read_state(entry).iteration == 4
    replaced = {p.name: p.read_bytes() for p in written.replaced.iterdir()}
    assert replaced == {k: v for k, v in old.items() if "default_options" not in k}
    assert [e.stem for e in find_dfl_models(tmp_path)] == ["a_SAEHD"]


def test_a_full_disk_leaves_the_old_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = dfl_entry(tmp_path, "a", ModelClass.SAEHD)
    dfl = to_dfl_model(plain_model(saehd()), "a", Remarks())
    write_model(entry, dfl)
    old = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(arrays: object) -> object:
        yield b"half"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dfl_write, "pickled_arrays", full)
    with pytest.raises(OSError, match="space"):
        write_model(entry, dfl, overwrite=True)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == old


# --- what is not whole ----------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Path:
    plain = plain_model(saehd(gan_dims=4, gan_patch_size=8, gan_power=0.1))
    write_model(dfl_entry(tmp_path, "a", ModelClass.SAEHD), to_dfl_model(plain, "a", Remarks()))
    return tmp_path


def _change(path: Path, key: str, value: object) -> None:
    content = pickle.loads(path.read_bytes())
    if value is None:
        del content[key]
    else:
        content[key] = value
    path.write_bytes(pickle.dumps(content, 4))


@pytest.mark.parametrize(
    ("file", "key", "value", "said"),
    [
        ("encoder.npy", "", None, "a_SAEHD_encoder.npy: the file is missing"),
        ("inter.npy", "dense1/bias:0", None, "dense1/bias:0 is missing"),
        ("inter.npy", "dense1/bias:0", np.zeros(7, np.float32), r"dense1/bias:0 is float32 \(7,\)"),
        ("inter.npy", "dense1/bias:0", np.zeros(32, np.int32), "dense1/bias:0 is int32"),
    ],
)
def test_a_main_network_that_is_not_whole_is_refused(
    small: Path, file: str, key: str, value: object, said: str
) -> None:
    path = small / f"a_SAEHD_{file}"
    path.unlink() if not key else _change(path, key, value)
    (entry,) = find_dfl_models(small)
    with pytest.raises(DamagedError, match=said):
        from_dfl_model(read_model(entry), Remarks())


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("archi", "dfhd", "dfhd"), ("e_dims", 0, "encoder_dims = 0"), ("ae_dims", 2**70, "exist"),
        ("resolution", 1e300, "resolution"), ("d_dims", -4, "decoder_dims = -4"),
        ("resolution", 128, "dense1/weight:0 is float32"),
    ],
)  # fmt: skip
def test_options_that_do_not_describe_the_weights(
    small: Path, option: str, value: object, said: str
) -> None:
    (entry,) = find_dfl_models(small)
    options = pickle.loads(entry.data.read_bytes())["options"]
    _change(entry.data, "options", options | {option: value})
    with pytest.raises(DamagedError, match=said):
        from_dfl_model(read_model(entry), Remarks())


def test_what_can_be_missed_is_missed_loudly(small: Path) -> None:
    (entry,) = find_dfl_models(small)
    key = "vs_encoder/down1/downs_0/conv1/bias_0:0"
    _change(entry.path("src_dst_opt.npy"), key, None)
    _change(entry.path("GAN.npy"), "in_conv/bias:0", np.zeros(3, np.float32))
    _change(entry.path("inter.npy"), "stranger\x1b[2J:0", np.zeros(1, np.float32))
    _change(entry.path("inter.npy"), "dense1/weight:0", np.full((8192 // 4, 32), np.nan, "f4"))
    bias = np.arange(32, dtype=np.float16)[None]
    _change(entry.path("inter.npy"), "dense1/bias:0", bias)
    entry.path("D_code_opt.npy").unlink(missing_ok=True)
    _change(entry.data, "loss_history", [[1.0, 2.0]])
    remarks = Remarks()
    plain = from_dfl_model(read_model(entry), remarks)
    said = "\n".join(map(str, remarks))
    for words in (
        "1 of 172 moments are missing", "in_conv/bias:0 is float32 (3,)", "starts afresh",
        "stranger?[2J:0", "brought into shape: dense1/bias:0", "stored as float16",
        "the model has collapsed", "1 losses for 3 iterations",
    ):  # fmt: skip
        assert words in said, said
    assert "D_src/in_conv.bias" not in plain.weights
    assert f"src_dst_opt/vs/{'encoder/down1.downs.0.conv1.bias'}" not in plain.optimizer
    assert np.array_equal(plain.weights["inter/dense1.bias"], bias[0].astype(np.float32))
    assert plain.losses["iteration"].tolist() == [3]


def test_another_optimizer_keeps_its_step_count(small: Path) -> None:
    (entry,) = find_dfl_models(small)
    state = old_loads(entry.data.read_bytes())
    _change(entry.data, "options", state["options"] | {"adabelief": False})
    remarks = Remarks()
    plain = from_dfl_model(read_model(entry), remarks)
    assert plain.optimizer["src_dst_opt/iterations"] == 2
    assert not [key for key in plain.optimizer if "/ms/" in key or "/acc/" in key]
    assert "all moments are missing" in "\n".join(map(str, remarks))


def test_options_that_are_unknown_or_wrong(small: Path) -> None:
    (entry,) = find_dfl_models(small)
    options = pickle.loads(entry.data.read_bytes())["options"]
    options |= {
        "use_fp16": np.int64(1), "batch_size": 4096, "ct_mode": "mix", "eyes_mouth_prio": True,
        "lr_dropout": True, "resolution": None, "random_hsv_power": np.float64(0.07),
    }  # fmt: skip
    _change(entry.data, "options", options)
    defaults = {"resolution": 64, "batch_size": 1, "pretrain": True}
    entry.default_options.write_bytes(pickle.dumps(defaults, 3))
    remarks = Remarks()
    plain = from_dfl_model(read_model(entry), remarks)
    o = plain.options
    assert (o.batch_size, o.color_transfer, o.resolution, o.pretrain) == (8, "none", 64, False)
    assert o.eyes_priority and o.mouth_priority and o.learning_rate_dropout == "on"
    said = "\n".join(map(str, remarks))
    for words in ("use_fp16", "batch_size = 4096", '"mix"', "default options: resolution"):
        assert words in said, said
    back = to_dfl_model(plain, "a", Remarks()).options
    assert type(back["use_fp16"]) is np.int64 and back["use_fp16"] == 1
    assert back["random_hsv_power"] == np.float64(0.07) and back["eyes_mouth_prio"] is True
    assert [k for k in back if k in options] == [k for k in options if options[k] is not None] + [
        "resolution"
    ]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("iter", -1), ("iter", "6"), ("iter", True), ("options", [1]),
        ("options", {"resolution": [64]}), ("loss_history", [[1.0]]), ("loss_history", 5),
        ("loss_history", [[1.0, "x"]]), ("sample_for_preview", {"a": 1}),
    ],
)  # fmt: skip
def test_a_state_with_wrong_types_is_refused(small: Path, key: str, value: object) -> None:
    (entry,) = find_dfl_models(small)
    _change(entry.data, key, value)
    with pytest.raises(DamagedError) as caught:
        read_model(entry)
    assert caught.value.where == str(entry.data)
