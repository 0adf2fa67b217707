"""What a run is made of, before the first iteration: request, options, faces, model on disk."""

import contextlib
import logging
import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from recaster_tui.checkpoints.store import Damage, Generation, make_current, set_aside
from recaster_tui.errors import BadInputError
from recaster_tui.options import ModelClass, TrainingOptions, changed, live_problem, specs, validate
from recaster_tui.protocol import EventType, RunFolder, RunSpec, read_run_spec
from recaster_tui.training.failures import BadOptionsError, TooFewFacesError
from recaster_tui.training.journal import JournalWriter
from recaster_tui.training.models.base import Batch, DataNeeds, TrainableModel
from recaster_tui.workspace import stored_options

if TYPE_CHECKING:
    from recaster_tui.faces.faceset import Faceset, Skipped

log = logging.getLogger(__name__)

MINIMUM_FACES = 4
"""Fewer cannot teach a network anything but these pictures; batches larger than it repeat faces."""


class DataSource(Protocol):
    """Where batches come from: :func:`recaster_tui.training.data.open_data`."""

    def next_batch(self) -> Batch:
        """The next random batch."""
        ...

    def preview_batch(self, n: int) -> Batch:
        """*n* fixed samples of each side, not warped."""
        ...

    def set_needs(self, needs: DataNeeds) -> None:
        """Go on with other augmentation."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """JSON-able: seed and place after the last batch taken."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the batch at which the state was taken."""
        ...

    @property
    def skipped(self) -> Mapping[Any, Sequence["Skipped"]]:
        """By side, faces found damaged while they were prepared."""
        ...

    def close(self) -> None:
        """Release files and threads."""
        ...


BuildModel = Callable[..., TrainableModel]
"""``(model_class, options, device, *, seed) -> TrainableModel``"""
OpenData = Callable[..., DataSource]
"""``(src, dst, needs, *, device, seed, cache_dir, progress) -> DataSource``"""
Progress = Callable[[str, int, int, str], None]
"""``(what, current, total, unit)``; raises ``StopRequested`` when the user wants to stop."""


@dataclass(frozen=True)
class Session:
    """One start of a run.

    Attributes:
        options: as validated, live changes of an earlier start of the same run included.
        live: those live changes, by key.
        seed: the one asked for, or one drawn for this model.
    """

    folder: RunFolder
    spec: RunSpec
    workspace: Path
    options: TrainingOptions
    live: Mapping[str, Any]
    seed: int

    @property
    def model_class(self) -> ModelClass:
        """The class of the model."""
        return self.spec.model_class

    @property
    def model_folder(self) -> Path:
        """``<workspace>/model/<name>.<class>``."""
        return self.workspace / self.spec.model_folder

    @property
    def cache_dir(self) -> Path:
        """Decoded faces; may be deleted at any time."""
        return self.folder.root.parent / ".cache"

    def generator_seed(self, iteration: int, salt: int) -> int:
        """A seed below 2^63 for the generators of a start at *iteration*.

        A resumed run must not draw the same warps and faces again from the beginning.
        """
        mixed = (self.seed * 0x9E3779B97F4A7C15 + iteration * 0xBF58476D1CE4E5B9 + salt) % 2**64
        mixed ^= mixed >> 31
        return (mixed * 0x94D049BB133111EB % 2**64) >> 1


def open_session(root: Path) -> Session:
    """Read and check what the run folder asks for.

    Raises:
        DamagedError: not a run folder.
        OptionsError: an option that cannot be used.
    """
    folder = RunFolder(root.resolve())
    spec = read_run_spec(folder.spec)
    # runs/<run-id>: a workspace can be moved, the run finds its place from where it lies.
    workspace = folder.root.parent.parent
    own = stored_options(workspace / spec.model_folder)
    options = validate(spec.model_class, spec.options, where=folder.spec, trusted=own)
    return Session(folder, spec, workspace, options, {}, options.seed or secrets.randbelow(2**31))


def take_over(session: Session, state: Mapping[str, Any]) -> Session:
    """Merge what the model's last state says: seed, and live changes of this same run.

    Raises:
        BadOptionsError: an option that is locked has another value than the model was made with.
    """
    if state.get("model_class", session.model_class.value) != session.model_class.value:
        raise BadOptionsError(
            f"the model on disk is of class {state['model_class']}", where=session.model_folder
        )
    stored = state.get("options", {})
    wanted = session.options.model_dump(mode="json")
    locked = [spec.key for spec in specs(session.model_class) if spec.locked]
    different = [
        f"{key} is {stored[key]!r} in the model and {wanted[key]!r} in the run"
        for key in locked
        if key in stored and stored[key] != wanted[key]
    ]
    if different:
        raise BadOptionsError(
            "these options are fixed once a model exists: " + "; ".join(different),
            where=session.model_folder,
            hint="use the model's own values, or train under another model name",
        )
    live: dict[str, Any] = {}
    options = session.options
    if state.get("run_id") == session.spec.run_id:
        for key, value in dict(state.get("live", {})).items():
            if live_problem(options, key, value) is None:
                options = changed(options, {key: value})
                live[key] = value
    seed = session.options.seed or int(state.get("seed", 0)) or session.seed
    return replace(session, options=options, live=live, seed=seed)


def load_faces(
    session: Session, journal: JournalWriter, progress: Progress
) -> dict[str, "Faceset"]:
    """Open ``src`` and ``dst``; what is skipped is journaled and listed in ``skipped.txt``.

    While pretraining both are one faceset, the pretraining one.

    Raises:
        BadInputError: a folder is missing.
        TooFewFacesError: fewer than :data:`MINIMUM_FACES` usable faces.
    """
    from recaster_tui.faces.faceset import Faceset, open_faceset

    facesets: dict[str, Faceset] = {}
    folders = faces_folders(session)
    title = dict.fromkeys(folders, "pretraining") if pretrains(session) else _TITLE
    for side, stored in folders.items():
        folder = (session.workspace / stored).resolve()
        if pretrains(session) and facesets:
            facesets[side] = next(iter(facesets.values()))
            continue
        if not folder.is_dir():
            if one_side_is_enough(session):
                facesets[side] = Faceset(folder, [])
                continue
            raise BadInputError(
                f"there is no folder of {title[side]} faces",
                where=folder,
                hint="pretrain_faces names it; copy aligned faces of many people there"
                if pretrains(session)
                else "extract faces first, or make a synthetic workspace: recaster demo DIR",
            )

        def report(current: int, total: int, *_: object, side: str = side) -> None:
            progress(f"{title[side]} faces", current, total, "files")

        facesets[side] = open_faceset(folder, report)
    skipped_list(session).unlink(missing_ok=True)  # of an earlier start
    for side, faceset in own_sides(facesets).items():
        report_skipped(session, journal, side, faceset.skipped, len(faceset.faces))
    enough = one_side_is_enough(session)
    enough &= sum(len(faceset.faces) for faceset in facesets.values()) >= MINIMUM_FACES
    for side, faceset in facesets.items():
        if len(faceset.faces) < MINIMUM_FACES and not enough:
            raise TooFewFacesError(
                f"only {len(faceset.faces)} usable {title[side]} faces, "
                f"{len(faceset.skipped)} files skipped; at least {MINIMUM_FACES} are needed, "
                "a few hundred for a good result",
                where=faceset.folder,
                hint=f"{skipped_list(session).name} in the run folder says why each was skipped"
                if faceset.skipped
                else "extract faces into this folder first",
            )
    return facesets


def own_sides(facesets: Mapping[str, "Faceset"]) -> dict[str, "Faceset"]:
    """Each faceset once, by the first side that it is for."""
    found: dict[str, Faceset] = {}
    for side, faceset in facesets.items():
        if all(faceset is not other for other in found.values()):
            found[side] = faceset
    return found


def pretrains(session: Session) -> bool:
    """Whether this run learns from the pretraining faces."""
    return bool(getattr(session.options, "pretrain", False))


def one_side_is_enough(session: Session) -> bool:
    """Whether both sides are one set to learn from, of which one may be empty (XSeg)."""
    return session.spec.model_class is ModelClass.XSEG and not pretrains(session)


def faces_folders(session: Session) -> dict[str, str]:
    """The faces folder of each side, relative to the workspace."""
    if pretrains(session):
        return dict.fromkeys(("src", "dst"), str(getattr(session.options, "pretrain_faces", "")))
    return {"src": session.spec.src, "dst": session.spec.dst}


def skipped_list(session: Session) -> Path:
    """``skipped.txt``: every file that is not used: side, name, code, reason; tabs between."""
    return session.folder.root / "skipped.txt"


def report_skipped(
    session: Session,
    journal: JournalWriter,
    side: str,
    skipped: Sequence["Skipped"],
    usable: int,
) -> None:
    """Journal which files of one side are not used, one warning for each reason; list them all."""
    if not skipped:
        return
    with skipped_list(session).open("a", encoding="utf-8") as file:
        file.writelines(f"{side}\t{s.name}\t{s.code}\t{s.message}\n" for s in skipped)
    by_code: dict[str, list[Skipped]] = defaultdict(list)
    for one in skipped:
        by_code[one.code].append(one)
    for code, files in sorted(by_code.items()):
        journal.emit(
            EventType.WARNING,
            code=f"face-{code}",
            message=f"{len(files)} of {len(skipped) + usable} files in "
            f"{faces_folders(session)[side]} not used: {files[0].message}",
            hint=f"{skipped_list(session).name} in the run folder lists them all",
            count=len(files),
            files=[s.name for s in files[:5]],
        )


def warn_damaged(
    journal: JournalWriter, folder: Path, damaged: Iterable[Damage], used: Generation | None = None
) -> None:
    """Set damaged generations of the model aside and say so; *used* takes their place."""
    instead = f"iteration {used.iteration:,} ({used.name})" if used is not None else "an older save"
    for damage in damaged:
        try:
            moved = set_aside(folder, [damage])
            place = f"set aside in {moved[0].relative_to(folder)}" if moved else "not used"
        except OSError as error:
            place = f"not used, but still in its place ({error.strerror})"
        journal.emit(
            EventType.WARNING,
            code="damaged-generation",
            message=f"the save {damage.path.name} is damaged: {damage.reason}; {place}",
            hint=f"{instead} is used; check the disk if this happens again",
        )
    if damaged and used is not None:
        with contextlib.suppress(OSError):  # else CURRENT would name what is gone until a save
            make_current(folder, used)


def describe_device(device: torch.device) -> dict[str, Any]:
    """The ``device`` of the ``hello`` event."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return {"kind": "cuda", "name": properties.name, "memory": properties.total_memory}
    if device.type == "cpu":
        return {"kind": "cpu", "name": f"CPU, {torch.get_num_threads()} threads"}
    return {"kind": device.type, "name": device.type.upper()}


_TITLE = {"src": "source", "dst": "destination"}
