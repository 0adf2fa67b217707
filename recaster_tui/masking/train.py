"""``python -m recaster_tui.masking.train``: the automatic mask's weights, from nothing.

It renders the pictures (``--render``, some ten minutes of one core), trains for a given time on one
thread, goes on where an earlier call was stopped, and writes the weights that the package ships:

    python -m recaster_tui.masking.train FOLDER --render
    python -m recaster_tui.masking.train FOLDER --seconds 4500
    python -m recaster_tui.masking.train FOLDER --export masking/data/automask.safetensors

``FOLDER`` holds ``train/`` and ``held-out/`` pictures, ``state.pt``, ``best.safetensors``, ``log``.
"""

import argparse
import copy
import json
import logging
import math
import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from recaster_tui.masking.augment import covered_sample, plain_sample, training_sample
from recaster_tui.masking.pictures import (
    FIRST_SEED,
    HELD_OUT_SEED,
    Bytes,
    Labelled,
    decode,
    read_chunk,
    write_chunks,
)
from recaster_tui.nets.automask import CHANNELS, AutoMask

log = logging.getLogger(__name__)

IDENTITIES = 440
HELD_OUT_IDENTITIES = 40
BATCH = 8
LEARNING_RATE = 2e-3
WARMUP = 100  # steps
DECAY = 1e-4
AVERAGE = 0.999  # of the weights, exponential
CHANNEL_WEIGHTS = (1.0, 0.25, 0.15, 0.15, 0.15)
EDGE = 2.0  # a pixel at the face's edge counts so much more
EVALUATE_SECONDS = 420.0
_JUDGED = 100

Entry = tuple[Bytes, Bytes]


class Pictures:
    """The encoded faces of a folder; new chunks join as they are rendered."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: list[Entry] = []
        self._decoded: dict[int, Labelled] = {}
        self._seen: set[str] = set()
        self.refresh()

    def face(self, index: int) -> Labelled:
        """One of them, decoded once: a thousand take 170 MB."""
        found = self._decoded.get(index)
        if found is None:
            found = self._decoded[index] = decode(*self.entries[index])
        return found

    def refresh(self) -> None:
        """Read the chunks that are new."""
        for path in sorted(self.folder.glob("*.npz")):
            if path.name not in self._seen:
                self._seen.add(path.name)
                self.entries += read_chunk(path)


def batches(pictures: Pictures, rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless random batches: (B, 3, 160, 160) uint8 pictures, (B, 5, 160, 160) uint8 truth."""
    while True:
        xs, ys = [], []
        for _ in range(BATCH):
            pair = rng.integers(len(pictures.entries), size=2)
            face, other = (pictures.face(int(k)) for k in pair)
            x, y = training_sample(face, other, rng)
            xs.append(x)
            ys.append(y)
        yield _tensor(np.stack(xs)), _tensor(np.stack(ys))


def _ahead(source: Iterator[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    """The same, made by a thread while the network works."""
    made: queue.Queue[tuple[Tensor, Tensor]] = queue.Queue(maxsize=4)

    def work() -> None:
        for batch in source:
            made.put(batch)

    threading.Thread(target=work, daemon=True, name="augment").start()
    while True:
        yield made.get()


def _tensor(stack: Bytes) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(stack.transpose(0, 3, 1, 2)))


def loss_of(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy of all channels, the face's edge weighted up, and the face's soft IoU."""
    face = truth[:, :1]
    near = F.avg_pool2d(face, 7, 1, 3)
    weight = 1 + EDGE * ((near > 0.02) & (near < 0.98)).float()
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    per_channel = (entropy * weight).mean((0, 2, 3))
    found = torch.sigmoid(logits[:, :1])
    both = (found * face).sum((1, 2, 3))
    either = (found + face - found * face).sum((1, 2, 3))
    overlap = (both + 20) / (either + 20)
    return (per_channel * per_channel.new_tensor(CHANNEL_WEIGHTS)).sum() + 0.5 * (
        1 - overlap
    ).mean()


def evaluate(net: AutoMask, entries: list[Entry], *, seed: int = 5) -> dict[str, float]:
    """Mean intersection over union of the face, uncovered and covered, and of every channel."""
    rng = np.random.default_rng(seed)
    plain: list[NDArray[np.float64]] = []
    covered: list[NDArray[np.float64]] = []
    faces = [decode(*entry) for entry in entries[:: max(1, len(entries) // _JUDGED)]]
    net.eval()
    for k, face in enumerate(faces):
        other = faces[(k * 7 + 3) % len(faces)]
        plain.append(_overlaps(net, *plain_sample(face)))
        covered.append(_overlaps(net, *covered_sample(face, other, rng)))
    means = np.nanmean(np.stack(plain), 0)
    hidden = np.stack(covered)[:, 0]
    result = {f"plain_{name}": float(v) for name, v in zip(CHANNELS, means, strict=True)}
    result["plain_lowest"] = float(np.nanmin(np.stack(plain)[:, 0]))
    return result | {
        "covered_face": float(np.nanmean(hidden)),
        "covered_lowest": float(np.nanmin(hidden)),
    }


def _overlaps(net: AutoMask, picture: Bytes, truth: Bytes) -> NDArray[np.float64]:
    """(5,) IoU at 0.5; NaN for a channel that is not in the picture."""
    with torch.inference_mode():
        logits = net(_tensor(picture[None]).float() / 255)[0]
    found = (logits > 0).numpy()
    exact = truth.transpose(2, 0, 1) > 127
    both = (found & exact).sum((1, 2))
    either = (found | exact).sum((1, 2))
    there = exact.sum((1, 2)) >= 20
    return np.where(there, both / np.maximum(either, 1), np.nan)


def train(folder: Path, *, seconds: float, threads: int = 1, seed: int = 1) -> None:
    """Train until *seconds* of work are spent, counting those of earlier calls.

    The learning rate falls along half a cosine over that time.
    """
    torch.set_num_threads(threads)
    cv2.setNumThreads(1)
    torch.manual_seed(seed)
    net = AutoMask().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(net)
    optimizer = torch.optim.AdamW(net.parameters(), LEARNING_RATE, weight_decay=DECAY)
    spent, step, best = 0.0, 0, 0.0
    state_path = folder / "state.pt"
    if state_path.is_file():
        state = torch.load(state_path, weights_only=True)
        net.load_state_dict(state["net"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        spent, step, best = state["spent"], state["step"], state["best"]
        log.info("goes on at step %d after %.0f s", step, spent)
    pictures, held_out = Pictures(folder / "train"), Pictures(folder / "held-out")
    source = _ahead(batches(pictures, np.random.default_rng((seed, step))))
    judged = told = time.monotonic()
    begun = judged - spent
    losses: list[float] = []
    while True:
        spent = time.monotonic() - begun
        rate = LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * min(1.0, spent / seconds)))
        for group in optimizer.param_groups:
            group["lr"] = max(rate, 1e-6) * min(1.0, (step + 1) / WARMUP)
        x, y = next(source)
        net.train()
        picture = (x.float() / 255).contiguous(memory_format=torch.channels_last)
        loss = loss_of(net(picture), y.float() / 255)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        step += 1
        _follow(average, net, min(AVERAGE, (1 + step) / (10 + step)))
        losses.append(loss.item())
        now = time.monotonic()
        over = now - begun >= seconds
        if now - told > 30:
            told = now
            log.info("step %d, %.0f s, loss %.4f, %d faces", step, now - begun,
                     float(np.mean(losses[-50:])), len(pictures.entries))  # fmt: skip
            pictures.refresh()
        if over or now - judged > EVALUATE_SECONDS:
            judged = now
            held_out.refresh()
            result = evaluate(average, held_out.entries)
            told_values = {k: round(v, 4) for k, v in result.items()}
            log.info("held out at step %d: %s", step, json.dumps(told_values))
            value = (result["plain_face"] + result["covered_face"]) / 2
            if value >= best:
                best = value
                _save_weights(average, folder / "best.safetensors")
            state = {
                "net": net.state_dict(),
                "average": average.state_dict(),
                "optimizer": optimizer.state_dict(),
                "spent": now - begun,
                "step": step,
                "best": best,
            }
            torch.save(state, folder / "state.tmp")
            (folder / "state.tmp").replace(state_path)
            losses = losses[-200:]
        if over:
            log.info("done: best %.4f", best)
            return


@torch.no_grad()
def _follow(average: AutoMask, net: AutoMask, share: float) -> None:
    """Move *average* towards *net*, its normalisation statistics too."""
    for mean, value in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
        if mean.dtype.is_floating_point:
            mean.lerp_(value, 1 - share)
        else:
            mean.copy_(value)


def _save_weights(net: AutoMask, path: Path) -> None:
    state = {k: v.contiguous() for k, v in net.state_dict().items()}
    save_file(state, path)


def export(folder: Path, target: Path) -> int:
    """Write ``best.safetensors`` in half precision to *target*; its size in bytes."""
    state = load_file(folder / "best.safetensors")
    half = {k: v.half() for k, v in state.items() if v.dtype.is_floating_point}
    target.parent.mkdir(parents=True, exist_ok=True)
    about = {"licence": "MIT", "trained_on": "synthetic heads of recaster demo (CC0 mesh)"}
    save_file(half, target, metadata=about)
    return target.stat().st_size


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--render", action="store_true", help="render the pictures")
    parser.add_argument("--seconds", type=float, help="train for so long, earlier calls included")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--export", type=Path, help="write the weights to ship")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if given.render:
        cv2.setNumThreads(1)
        write_chunks(given.folder / "held-out", HELD_OUT_SEED, HELD_OUT_IDENTITIES, each=5)
        write_chunks(given.folder / "train", FIRST_SEED, IDENTITIES)
    if given.seconds:
        train(given.folder, seconds=given.seconds, threads=given.threads)
    if given.export:
        log.info("%s: %d bytes", given.export, export(given.folder, given.export))


if __name__ == "__main__":
    main()
