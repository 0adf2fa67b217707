"""Putting a trainer together from a run folder, and taking it apart again."""

import contextlib
import json
import logging
import platform
import socket
import time
from functools import partial
from typing import Any

import numpy as np
import psutil
import torch

import recaster_tui
from recaster_tui.checkpoints.lock import lock_model
from recaster_tui.checkpoints.store import clean_up
from recaster_tui.files import sweep
from recaster_tui.options import with_number
from recaster_tui.protocol import LOSS_DTYPE, PROTOCOL_VERSION, EventType, Phase, RunFolder
from recaster_tui.training.generations import Loaded, load_model
from recaster_tui.training.history import LossHistory
from recaster_tui.training.loop import Trainer
from recaster_tui.training.measuring import Measures, kept_aside, restored
from recaster_tui.training.meter import FLUSHES_PER_SECOND
from recaster_tui.training.metrics import MachineMeter
from recaster_tui.training.models.base import pick_device
from recaster_tui.training.parts import Parts
from recaster_tui.training.pretraining import (
    keep_pretrained,
    leaves_pretraining,
    same_faces,
    tell_graduation,
    with_fresh_identities,
)
from recaster_tui.training.probe import AutoBatch
from recaster_tui.training.saver import Saver
from recaster_tui.training.session import (
    BuildModel,
    OpenData,
    Session,
    describe_device,
    load_faces,
    open_session,
    own_sides,
    report_skipped,
    take_over,
    warn_damaged,
)
from recaster_tui.training.start import Context

log = logging.getLogger(__name__)


def train(
    context: Context, build_model: BuildModel | None = None, open_data: OpenData | None = None
) -> None:
    """Train until the end; the ``done`` event is written when this returns.

    Raises:
        StopRequested: before training had begun.
        RecasterError: what a user can mend; anything else is a bug.
    """
    build, feed = build_model or _build_model(), open_data or _open_data()
    session = open_session(context.folder.root)
    device = pick_device(session.spec.device)
    with contextlib.ExitStack() as cleanup:
        lock = lock_model(session.model_folder, session.spec.run_id)
        cleanup.callback(lock.release)
        clean_up(session.model_folder)
        _clean_up_run(context.folder)
        loaded = load_model(session.model_folder)
        if loaded is not None:
            session = take_over(session, loaded.snapshot.state)
            context.iteration = loaded.generation.iteration
            context.saved = context.iteration
        graduates = loaded is not None and leaves_pretraining(session, loaded.snapshot.state)
        if graduates:
            context.iteration, context.saved = 0, None
        history = LossHistory(context.folder.losses, _losses(None if graduates else loaded))
        _hello(context, session, device)
        if loaded is not None:
            generation = loaded.generation
            warn_damaged(context.journal, session.model_folder, loaded.damaged, generation)
        parts = _build(context, session, device, loaded, graduates, history, build, feed)
        cleanup.callback(parts.data.close)
        cleanup.callback(parts.saver.close)
        if loaded is not None and graduates:
            context.say(Phase.SAVING, "keeping a backup of the pretrained model")
            keep_pretrained(session.model_folder, loaded.generation)
            tell_graduation(context.journal, loaded)
        seconds = float(loaded.snapshot.state.get("trained_seconds", 0.0)) if loaded else 0.0
        trainer = Trainer(parts, iteration=context.iteration, trained_seconds=seconds)
        del loaded
        machine = MachineMeter(device.type, device.index or 0)
        context.heartbeat.measure = lambda: machine() | trainer.figures()
        context.heartbeat.iteration = lambda: trainer.iteration
        try:
            trainer.run()
        finally:
            context.iteration, context.saved = trainer.iteration, parts.saver.saved


def _build(
    context: Context,
    session: Session,
    device: torch.device,
    loaded: Loaded | None,
    graduates: bool,
    history: LossHistory,
    build_model: BuildModel,
    open_data: OpenData,
) -> Parts:
    report = _Progress(context)
    context.say(Phase.LOADING_DATA, "reading the faces")
    faces = load_faces(session, context.journal, report)
    context.check_stop()
    title = f"{session.spec.model_name} ({session.model_class.title})"
    context.say(Phase.BUILDING, f"building {title}")
    build = partial(
        build_model,
        session.model_class,
        device=device,
        # Another seed, or the fresh networks would start as they did before pretraining.
        seed=session.generator_seed(context.iteration, 3 if graduates else 1),
    )
    known = loaded.snapshot.state if loaded is not None and not graduates else {}
    batch = AutoBatch(session, device, context.journal, build, known)
    number = batch.change(session.options)
    model = build(with_number(session.options, number))
    if loaded is not None:
        weights = loaded.snapshot.weights
        if graduates:
            weights = with_fresh_identities(weights, model.state()["weights"])
        model.load_state(weights, loaded.snapshot.optimizer)
        if loaded.snapshot.state.get("run_id") == session.spec.run_id:
            model.pieces = max(1, int(loaded.snapshot.state.get("pieces", 1)))
            slowdown = float(loaded.snapshot.state.get("slowdown", 1.0))
            if slowdown != 1.0:
                model.slow_down(slowdown)  # type: ignore[attr-defined]
    context.check_stop()
    context.say(Phase.LOADING_DATA, "preparing the faces")

    def progress(current: int, total: int, *text: Any) -> None:
        report(str(text[0]) if text else "preparing faces", current, total, "faces")

    remembered = loaded.snapshot.state.get("held_out") if loaded is not None else None
    chosen, series = restored(remembered, context.iteration)
    segmented = model.needs.segmented
    held_out = kept_aside(session, faces, chosen, segmented=segmented, iteration=context.iteration)
    data = open_data(
        faces["src"],
        faces["dst"],
        model.needs,
        device=device,
        seed=session.generator_seed(context.iteration, 2),
        cache_dir=session.cache_dir,
        progress=progress,
        held_out=held_out,
    )
    for side in own_sides(faces):
        skipped = data.skipped[side]
        usable = len(faces[side].faces) - len(skipped)
        report_skipped(session, context.journal, side, skipped, usable)
    if loaded is not None and "data" in loaded.snapshot.state and same_faces(session, loaded):
        data.load_state_dict(json.loads(loaded.snapshot.state["data"]))
    if number is None:
        batch.find(
            model, data, session.options, check=context.check_stop, iteration=context.iteration
        )
    saver = Saver(session.model_folder, context.journal, context.saved)
    measures = Measures(data, context.journal, series=series)
    return Parts(
        session,
        model,
        data,
        context.journal,
        context.desk,
        context.stop,
        history,
        saver,
        batch,
        measures,
        drawn=() if loaded is None or graduates else loaded.snapshot.state.get("drawn", ()),
    )


def _clean_up_run(folder: RunFolder) -> None:
    """Remove what an earlier trainer of this run was killed while writing."""
    sweep(folder.root, folder.losses.name, age=0)
    for path in folder.previews.glob("*"):
        sweep(path, age=0)


def _build_model() -> BuildModel:
    from recaster_tui.training.models import build_model

    return build_model


def _open_data() -> OpenData:
    from recaster_tui.training.data import open_data

    return open_data


class _Progress:
    """Journals progress at most four times a second, and looks whether to stop."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._last = 0.0

    def __call__(self, what: str, current: int, total: int, unit: str) -> None:
        now = time.monotonic()
        if now - self._last < 1.0 / FLUSHES_PER_SECOND and current < total:
            return
        self._last = now
        self._context.check_stop()
        self._context.journal.emit(
            EventType.PROGRESS, what=what, current=current, total=total, unit=unit, text=what
        )


def _losses(loaded: Loaded | None) -> Any:
    if loaded is None:
        return np.empty(0, LOSS_DTYPE)
    rows = loaded.snapshot.losses
    return rows[rows["iteration"] <= loaded.generation.iteration]


def _hello(context: Context, session: Session, device: torch.device) -> None:
    process = psutil.Process()
    context.journal.emit(
        EventType.HELLO,
        protocol=PROTOCOL_VERSION,
        recaster=recaster_tui.__version__,
        torch=torch.__version__,
        python=platform.python_version(),
        pid=process.pid,
        started=process.create_time(),
        device=describe_device(device),
        host=socket.gethostname(),
        model=session.spec.model_name,
        model_class=session.model_class.value,
        iteration=context.iteration,
        resumed=context.saved is not None,
        seed=session.seed,
    )
