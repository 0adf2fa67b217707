"""The schema itself: defaults against the spec's tables, completeness of the help, lightness."""

import subprocess
import sys
from math import prod
from pathlib import Path

import pytest

from recaster_tui.options import (
    ModelClass,
    OptionSpec,
    SaehdOptions,
    gan_strides,
    parse_architecture,
    spec_map,
    specs,
    validate,
)
from recaster_tui.options.architecture import ARCHITECTURES
from recaster_tui.options.models import (
    QUICK96_ARCHITECTURE,
    QUICK96_AUTOENCODER_DIMS,
    QUICK96_DECODER_DIMS,
    QUICK96_ENCODER_DIMS,
    QUICK96_MASK_DECODER_DIMS,
    QUICK96_RESOLUTION,
)

ALL = [pytest.param(s, id=f"{m.value}-{s.key}") for m in ModelClass for s in specs(m)]

# DFL name: (default, minimum, maximum), from dfl-models.md 3.1, 4.1, 5, 6.1 and product.md 6.3.
# DFL's own defaults are meant where they differ from ours: those are listed in OURS below.
COMMON = {
    "retraining_samples": (False, None, None),
    "maximum_n_backups": (24, 0, None),
    "preview_samples": (4, 1, 16),
    "target_iter": (0, 0, None),
    "random_src_flip": (False, None, None),
    "random_dst_flip": (True, None, None),
}
SHARED = COMMON | {
    "batch_size": (8, None, None),
    "models_opt_on_gpu": (True, None, None),
    "ae_dims": (256, 32, 1024),
    "e_dims": (64, 16, 256),
    "d_dims": (64, 16, 256),
    "d_mask_dims": (22, 16, 256),
    "masked_training": (True, None, None),
    "uniform_yaw": (False, None, None),
    "blur_out_mask": (False, None, None),
    "adabelief": ("adabelief", None, None),
    "lr": (5e-5, 0, 1),
    "lr_dropout": ("off", None, None),
    "loss_function": ("ssim", None, None),
    "random_warp": (True, None, None),
    "random_hsv_power": (0.0, 0, 0.3),
    "random_downsample": (False, None, None),
    "random_noise": (False, None, None),
    "random_blur": (False, None, None),
    "random_jpeg": (False, None, None),
    "random_shadow": ("none", None, None),
    "background_power": (0.0, 0, 1),
    "ct_mode": ("none", None, None),
    "random_color": (False, None, None),
    "clipgrad": (False, None, None),
    "gan_dims": (16, 4, 512),
    "gan_smoothing": (0.1, 0, 0.5),
    "gan_noise": (0.0, 0, 0.5),
}
TABLES = {
    ModelClass.SAEHD: SHARED
    | {
        "resolution": (128, 64, 640),
        "face_type": ("full", None, None),
        "archi": ("liae-ud", None, None),
        "eyes_prio": (False, None, None),
        "mouth_prio": (False, None, None),
        "true_face_power": (0.0, 0, 1),
        "face_style_power": (0.0, 0, 100),
        "bg_style_power": (0.0, 0, 100),
        "gan_power": (0.0, 0, 10),
        "pretrain": (False, None, None),
    },
    ModelClass.AMP: SHARED
    | {
        "resolution": (224, 64, 640),
        "face_type": ("whole", None, None),
        "inter_dims": (1024, 32, 2048),
        "morph_factor": (0.5, 0.1, 0.5),
        "preview_mf": (1.0, 0, 1),
        "gan_power": (0.0, 0, 5),
        # always on in DFL's AMP, which has no switch for them
        "eyes_prio": (True, None, None),
        "mouth_prio": (True, None, None),
    },
    ModelClass.QUICK96: COMMON
    | {"batch_size": (4, None, None), "random_dst_flip": (False, None, None)},
    ModelClass.XSEG: COMMON
    | {
        "batch_size": (4, 2, 16),
        "face_type": ("whole", None, None),
        "pretrain": (False, None, None),
        "random_src_flip": (True, None, None),
    },
}
OURS = {"autobackup_hour", "gan_patch_size"}  # 1 instead of 0; 0 stands for resolution / 8
LOCKED = {
    *("resolution", "face_type", "archi", "ae_dims", "inter_dims"),
    *("e_dims", "d_dims", "d_mask_dims", "morph_factor"),
}


@pytest.mark.parametrize("model", list(ModelClass))
def test_defaults_and_ranges_are_those_of_the_spec(model: ModelClass) -> None:
    table = TABLES[model]
    found = {spec.dfl: spec for spec in specs(model) if spec.dfl and spec.dfl not in OURS}
    assert set(found) == set(table)
    for name, (default, low, high) in table.items():
        spec = found[name]
        assert spec.default == default, name
        if low is not None:
            assert spec.minimum == low, name
        if high is not None:
            assert spec.maximum == high, name


@pytest.mark.parametrize("model", list(ModelClass))
def test_first_run_options_are_locked_and_never_live(model: ModelClass) -> None:
    assert {s.dfl for s in specs(model) if s.locked} == {
        s.dfl for s in specs(model) if s.dfl in LOCKED
    }
    assert not [s.key for s in specs(model) if s.locked and s.live]
    structural = {"optimizer", "gan_patch_size", "gan_dims", "pretrain", "models_on_gpu"}
    assert not [s.key for s in specs(model) if s.live and s.key in structural]


@pytest.mark.parametrize("spec", ALL)
def test_every_option_explains_itself(spec: OptionSpec) -> None:
    sentences = [s for s in spec.help.replace("e.g.", "").split(". ") if s]
    assert 1 <= len(sentences) <= 4
    assert len(spec.help) > 40
    assert spec.help.endswith(".")
    value, _, reason = spec.recommended.partition(": ")
    assert value and len(reason) > 10, "a recommended value and its reason"
    assert spec.label
    if spec.kind in ("int", "float"):
        assert spec.minimum is not None and spec.step
    if spec.shown_when:
        assert spec.shown_when.describe()


@pytest.mark.parametrize("model", list(ModelClass))
def test_conditions_name_options_of_the_same_class(model: ModelClass) -> None:
    known = spec_map(model)
    for spec in specs(model):
        if spec.shown_when:
            assert spec.shown_when.key in known


def test_gan_plans_equal_the_golden_list() -> None:
    lines = (Path(__file__).parent.parent / "data" / "gan_plans.txt").read_text().splitlines()[1:]
    checked = 0
    for line in lines:
        first, last, strides = line.split()
        for patch in range(int(first), int(last) + 1):
            assert "".join(map(str, gan_strides(patch))) == strides, patch
            checked += 1
    assert checked == 638


@pytest.mark.parametrize(
    ("resolution", "patch"), [(144, 63), (160, 127), (224, 255)]
)  # each breaks the original (Quirk 6)
def test_a_gan_that_does_not_fit_is_refused(resolution: int, patch: int) -> None:
    from recaster_tui.options import problems

    given = {
        "architecture": "liae-u",
        "resolution": resolution,
        "gan_patch_size": patch,
        "gan_power": 0.1,
    }
    message = problems("saehd", given)["gan_patch_size"]
    nearest = int(message.rpartition(": use ")[2].split()[0].rstrip(","))
    assert not problems("saehd", given | {"gan_patch_size": nearest})
    assert not problems("saehd", given | {"gan_patch_size": 0})
    assert not problems("saehd", given | {"gan_power": 0.0})


def test_the_default_patch_fits_every_resolution() -> None:
    for resolution in range(64, 641, 16):
        options = SaehdOptions(architecture="liae", resolution=resolution, gan_power=0.1)
        # there DFL fails to build: an eighth (62, 66 ...) has strides of product 32
        odd = resolution in (496, 528, 560, 592, 624)
        expected = 61 if odd else resolution // 8
        assert options.effective_gan_patch_size == expected
        assert resolution % prod(options.gan_strides) == 0


def test_architecture_grammar() -> None:
    assert len(set(ARCHITECTURES)) == 32
    assert all(str(parse_architecture(text)) == text for text in ARCHITECTURES)
    assert str(parse_architecture("LIAE-DUU")) == "liae-ud"
    assert parse_architecture("df").resolution_multiple == 16
    assert parse_architecture("df-t").resolution_multiple == 32
    for bad in ("", "df-", "dfl", "df-x", "df-u-d", "-ud", "liae ud"):
        with pytest.raises(ValueError, match="not an architecture"):
            parse_architecture(bad)


@pytest.mark.parametrize(
    ("dims", "mask"), [(64, 22), (16, 16), (48, 16), (80, 26), (256, 86), (72, 24)]
)
def test_mask_dims_follow_the_decoder_unless_given(dims: int, mask: int) -> None:
    assert validate("saehd", {"decoder_dims": dims}).mask_decoder_dims == mask  # type: ignore[attr-defined]
    given = validate("saehd", {"decoder_dims": dims, "mask_decoder_dims": 32})
    assert given.mask_decoder_dims == 32  # type: ignore[attr-defined]


def test_quick96_is_a_valid_saehd() -> None:
    SaehdOptions(
        resolution=QUICK96_RESOLUTION,
        architecture=QUICK96_ARCHITECTURE,
        autoencoder_dims=QUICK96_AUTOENCODER_DIMS,
        encoder_dims=QUICK96_ENCODER_DIMS,
        decoder_dims=QUICK96_DECODER_DIMS,
        mask_decoder_dims=QUICK96_MASK_DECODER_DIMS,
    )


def test_importing_the_options_is_light() -> None:
    code = "import sys, recaster_tui.options; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "pydantic" in loaded
    heavy = {"torch", "numpy", "cv2", "textual", "rich", "asyncssh", "tomli_w"}
    assert not heavy & set(loaded)
