"""Behaviour of the trainable models that no golden shows: guards, checkpoints, live options."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from recaster_tui.errors import BadInputError, DamagedError
from recaster_tui.nets.ops import dssim
from recaster_tui.options import ModelClass, TrainingOptions, defaults
from recaster_tui.training.models import build_model
from recaster_tui.training.models.base import Batch, SideAugment, SideBatch
from recaster_tui.training.models.engine import Model
from recaster_tui.training.optimizers import KINDS, AdaBelief, RMSprop, global_norm

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {
    "resolution": 64,
    "architecture": "df-ud",
    "autoencoder_dims": 32,
    "encoder_dims": 16,
    "decoder_dims": 16,
    "mask_decoder_dims": 16,
    "batch_size": 2,
    "precision": "float32",
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def options(kind: str = "saehd", **values: Any) -> TrainingOptions:
    base = dict(SMALL) if kind == "saehd" else {"precision": "float32"}
    return defaults(kind).changed(**(base | values))


def model(kind: str = "saehd", seed: int = 3, **values: Any) -> Model:
    made = build_model(ModelClass(kind), options(kind, **values), CPU, seed=seed)
    assert isinstance(made, Model)
    return made


def batch(seed: int = 0, count: int = 2, side: int = 64) -> Batch:
    generator = torch.Generator().manual_seed(seed)

    def face() -> SideBatch:
        def picture(channels: int) -> Tensor:
            small = torch.rand(count, channels, 8, 8, generator=generator)
            return torch.nn.functional.interpolate(small, (side, side), mode="bilinear")

        mask = (picture(1) > 0.4).float()
        return SideBatch(
            picture(3), picture(3), mask, mask * picture(1), mask * 0.1, torch.arange(count)
        )

    return Batch(face(), face())


def weights(made: Model) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in made.state()["weights"].items()}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    """Networks with a weight that differs."""
    return {k.split("/")[0] for k in before if not torch.equal(before[k], after[k])}


def test_every_loss_term_trains() -> None:
    made = model(
        gan_power=0.1,
        true_face_power=0.01,
        face_style_power=1.0,
        background_style_power=1.0,
        eyes_priority=True,
        mouth_priority=True,
        blur_out_mask=True,
        clip_gradients=True,
        learning_rate_dropout="on",
        loss_function="ms-ssim+l1",
        background_power=0.2,
        gan_noise=0.1,
    )
    before, one = weights(made), batch()
    losses = [made.train_step(one).losses for _ in range(4)]
    assert changed(before, weights(made)) == set(made.networks)
    assert torch.stack(losses).isfinite().all()


@pytest.mark.parametrize("function", ["ssim", "ms-ssim", "ms-ssim+l1"])
def test_it_learns(function: str) -> None:
    made, one = model(loss_function=function, learning_rate=1e-4), batch()
    first = made.train_step(one).losses
    for _ in range(25):
        last = made.train_step(one).losses
    assert bool((last < 0.85 * first).all())


def test_checkpoint_continues_exactly() -> None:
    extra: dict[str, Any] = {"gan_power": 0.1, "gan_noise": 0.2, "learning_rate_dropout": "on"}
    made = model(**extra)
    for i in range(3):
        made.train_step(batch(i))
    state = made.state()
    saved = {part: {k: v.clone() for k, v in tensors.items()} for part, tensors in state.items()}
    expected = [made.train_step(batch(i)).losses for i in range(3, 6)]

    other = model(seed=99, **extra)
    other.load_state(saved["weights"], saved["optimizer"])
    assert other.iteration == 3
    for i, want in zip(range(3, 6), expected, strict=True):
        assert torch.equal(other.train_step(batch(i)).losses, want)
    assert changed(weights(made), weights(other)) == set()


def test_not_finite_leaves_everything_as_it_was() -> None:
    made, bad = model(gan_power=0.1), batch()
    made.train_step(batch())
    before = {part: {k: v.clone() for k, v in t.items()} for part, t in made.state().items()}
    bad.src.target[0, 0, 0, 0] = float("nan")
    result = made.train_step(bad)
    assert not bool(result.finite)
    after = made.state()
    for part in before:
        assert all(torch.equal(v, after[part][k]) for k, v in before[part].items())
    assert bool(made.train_step(batch()).finite)


def test_liae_rests_inter_ab_without_warp() -> None:
    made = model(architecture="liae-ud", random_warp=False)
    before = weights(made)
    made.train_step(batch())
    assert changed(before, weights(made)) == {"encoder", "inter_B", "decoder"}


def test_preview_disturbs_nothing() -> None:
    made, same = model(learning_rate_dropout="on"), model(learning_rate_dropout="on")
    views = made.preview(batch(7), 2)
    assert [v.name for v in views] == [
        "src-src",
        "dst-dst",
        "swap",
        "warped src-src",
        "warped dst-dst",
        "warped swap",
        "mask src-src",
        "mask dst-dst",
        "mask swap",
    ]
    assert all(v.image.shape == (2 * 64, 2 * 64, 3) and v.image.dtype == "uint8" for v in views)
    assert views[0].image[:64, :64].std() > 0
    for i in range(2):
        assert torch.equal(made.train_step(batch(i)).losses, same.train_step(batch(i)).losses)


def test_live_options() -> None:
    made = model()
    made.set_option("learning_rate", 0.0)
    before = weights(made)
    made.train_step(batch())
    assert changed(before, weights(made)) == set()
    made.set_option("random_hsv_power", 0.05)
    assert made.needs.src.hsv_power == 0.05 and made.needs.dst.hsv_power == 0
    made.set_option("learning_rate", 1e-4)
    made.set_option("gan_power", 0.1)
    made.train_step(batch())
    assert made.optimizers["GAN_opt"].iterations == 1
    for key, value in (("resolution", 128), ("learning_rate", 7.0), ("nonsense", 1)):
        with pytest.raises(BadInputError, match=key):
            made.set_option(key, value)


def test_a_discriminator_survives_being_switched_off() -> None:
    made = model(gan_power=0.1)
    made.train_step(batch())
    state = made.state()
    judge = {k: v.clone() for k, v in state["weights"].items() if k.startswith("D_src/")}

    plain = model(seed=5)
    plain.load_state(state["weights"], state["optimizer"])
    plain.train_step(batch())
    kept = plain.state()
    assert judge and all(torch.equal(kept["weights"][k], v) for k, v in judge.items())
    assert any(k.startswith("GAN_opt/ms/") for k in kept["optimizer"])
    plain.set_option("gan_power", 0.2)
    now = plain.state()
    assert all(torch.equal(now["weights"][k], v) for k, v in judge.items())
    assert plain.optimizers["GAN_opt"].iterations == 1


def test_foreign_weights_are_refused() -> None:
    made = model()
    state, before = made.state(), weights(made)
    short = dict(state["weights"])
    del short["encoder/down1.downs.0.conv1.weight"]
    with pytest.raises(DamagedError, match="down1"):
        made.load_state(short, {})
    wide = model(encoder_dims=32).state()["weights"]
    with pytest.raises(DamagedError, match="shape"):
        made.load_state(wide, {})
    assert changed(before, weights(made)) == set()


def test_xseg_pretrains_on_grey_pictures_without_skips() -> None:
    made = model("xseg", pretrain=True, batch_size=2)
    assert not made.needs.segmented and made.needs.batch_size == 1
    given = batch(count=1, side=256)
    net, images = made.networks["XSeg"], torch.cat((given.src.warped, given.dst.warped))
    blue, green, red = images.unbind(1)
    grey = (0.114 * blue + 0.587 * green + 0.299 * red)[:, None]
    with torch.no_grad():
        found = torch.sigmoid(net(images, skips=False))
    want = 10 * (grey - found).square().mean((1, 2, 3))
    for window in (22, 11):
        want = want + 5 * dssim(grey, found, window)[:, 0]
    before = weights(made)
    result = made.train_step(given)
    torch.testing.assert_close(result.per_sample[:, 0], want, rtol=1e-4, atol=1e-5)
    assert result.finite and changed(before, weights(made)) == {"XSeg"}
    (shown,) = made.preview(given, 1)
    assert shown.columns == ("input", "prediction")


def test_pretraining_overrules_options_but_keeps_them() -> None:
    wanted: dict[str, Any] = {
        "architecture": "df-ud",
        "random_hsv_power": 0.1,
        "color_transfer": "rct",
        "learning_rate_dropout": "on",
        "gan_power": 0.1,
        "true_face_power": 0.1,
        "face_style_power": 1.0,
        "background_style_power": 1.0,
    }
    made = model(pretrain=True, **wanted)
    needs, off = made.needs, SideAugment(flip=True, warp=False)
    assert (needs.src, needs.dst, needs.uniform_yaw) == (off, off, True)
    assert set(made.networks) == {"encoder", "inter", "decoder_src", "decoder_dst"}
    assert not made.optimizers["src_dst_opt"].dropout
    assert made.train_step(batch()).finite
    made.set_option("gan_power", 0.2)  # noted for later
    assert "D_src" not in made.networks
    kept = made.options.model_dump()
    assert kept == kept | wanted | {"gan_power": 0.2}
    # df's inter learns while pretraining; liae's inter_AB rests (quirk 7)
    assert any(name.startswith("inter/") for name in made.trainable("src_dst_opt"))
    liae = {"pretrain": True, "architecture": "liae-ud"}
    active = {n.split("/")[0] for n in model(**liae).trainable("src_dst_opt")}
    assert active == {"encoder", "inter_B", "decoder"}


def test_bfloat16_is_close() -> None:
    exact, rough = model(), model(precision="bfloat16")
    want, got = exact.train_step(batch()).losses, rough.train_step(batch()).losses
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, want, rtol=0.02, atol=0)


@pytest.mark.slow
def test_quick96_uses_each_third_batch_again() -> None:
    made = model("quick96", batch_size=1)
    wants, seen = [], []
    inner = made.objective

    def watch(given: Batch) -> Any:
        seen.append((int(given.src.index[0]), given.src.warped is given.src.target))
        return inner(given)

    made.objective = watch  # type: ignore[method-assign]
    for i in range(5):
        wants.append(made.wants_batch())
        one = batch(i, count=1, side=96)
        one.src.index[0] = i
        made.train_step(one)
    assert wants == [True, True, True, False, True]
    assert seen == [(0, False), (1, False), (2, False), (2, True), (4, False)]


def test_amp_trains_encoder_and_decoder_only() -> None:
    small = {k: v for k, v in SMALL.items() if k != "architecture"}
    made = model("amp", **small, inter_dims=32, gan_power=0.1)
    before = weights(made)
    assert bool(made.train_step(batch()).finite)
    assert changed(before, weights(made)) == {"encoder", "decoder", "GAN"}
    state = made.state()["optimizer"]["model/generator"].clone()
    views = made.preview(batch(), 2)
    assert {"swap", "morph", "morph masked"} <= {v.name for v in views}
    assert torch.equal(state, made.state()["optimizer"]["model/generator"])


@pytest.mark.parametrize("kind", [AdaBelief, RMSprop])
@pytest.mark.parametrize("dropout", [False, True])
def test_all_update_paths_agree(kind: type[AdaBelief] | type[RMSprop], dropout: bool) -> None:
    def run(path: str | None) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(1)
        parameters = {
            "w": torch.randn(5, 7, 3, 3, generator=generator).contiguous(
                memory_format=torch.channels_last
            ),
            "b": torch.randn(70000, generator=generator),
        }
        made = kind(parameters, learning_rate=0.01, dropout=dropout, clip_norm=1.0, seed=4)
        if path:
            made._step_slices = getattr(made, path)  # type: ignore[method-assign]
        for _ in range(4):
            gradients = {
                k: torch.randn(p.shape, generator=generator) for k, p in parameters.items()
            }
            made.step(gradients, float(global_norm(gradients.values())))
        return parameters

    want = run(None)
    for path in ("_step_foreach", "_step_offloaded"):
        got = run(path)
        assert all(torch.allclose(got[k], want[k], atol=1e-6) for k in want)


def test_dropout_keeps_the_originals_share() -> None:
    weight = torch.zeros(400_000)
    made = KINDS["rmsprop"]({"w": weight}, learning_rate=1.0, dropout=True, seed=1)
    made.step({"w": torch.ones_like(weight)}, 1.0)
    share = float((weight != 0).float().mean())
    assert abs(share - 308 / 1024) < 0.004


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("saehd", {"gan_power": 0.1, "gan_dims": 8, "true_face_power": 0.01, "gan_noise": 0.0}),
        ("saehd", {"face_style_power": 1.0, "background_style_power": 1.0}),
        ("xseg", {}),
    ],
)
def test_out_of_memory_works_the_same_batch_through_in_pieces(
    kind: str, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "xseg":
        from recaster_tui.nets.xseg import XSeg

        monkeypatch.setattr("recaster_tui.training.models.xseg.XSeg", lambda: XSeg(2))
    whole, cut = model(kind, **values), model(kind, **values)
    faces = batch(count=3, side=256 if kind == "xseg" else 64)
    objective, sizes = cut.objective, []

    def too_large(part: Batch) -> Any:
        sizes.append((len(part.src.warped), len(part.dst.warped)))
        found = objective(part)
        if sum(sizes[-1]) > (2 if kind == "xseg" else 4):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return found

    monkeypatch.setattr(cut, "objective", too_large)
    wanted, got = whole.gradients(faces), cut.gradients(faces)
    assert wanted.keys() == got.keys()
    for name, gradients in wanted.items():
        assert gradients.keys() == got[name].keys()
        scale = global_norm(gradients.values())
        for key, gradient in gradients.items():
            # XSeg's thresholds amplify the rounding of another batch size.
            limit = (1e-2 if kind == "xseg" else 1e-4) * scale
            assert (gradient - got[name][key]).norm() < limit, key
    a, b = whole.train_step(faces), cut.train_step(faces)
    assert torch.allclose(a.losses, b.losses, rtol=1e-4)
    # Row by row: the worst faces are picked by them.
    assert torch.allclose(a.per_sample, b.per_sample, rtol=1e-3) and bool(b.finite)
    if kind == "xseg":
        assert cut.pieces == 4 and sizes[:2] == [(3, 3), (2, 1)]
        assert all(sum(size) <= 2 for size in sizes[2:])
    else:
        # Tried once whole, then never again.
        assert cut.pieces == 2 and sizes == [(3, 3), (2, 2), (1, 1), (2, 2), (1, 1)]


def test_a_single_pair_that_does_not_fit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    made = model()
    before = weights(made)

    def never(part: Batch) -> Any:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(made, "objective", never)
    with pytest.raises(RuntimeError, match="allocate"):
        made.train_step(batch())
    assert made.pieces == 2 and not changed(before, weights(made))
