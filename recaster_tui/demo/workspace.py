"""Making the demo workspace: DeepFaceLab's layout, two synthetic people, nothing half-done.

Every file is renamed into place when it is whole, and ``demo.toml`` says "complete" only at the
end: interrupted at any instant, the same call later does what is missing.
"""

import logging
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import tomli_w

from recaster_tui.demo.crew import run_jobs
from recaster_tui.demo.plan import MARKER, SIDES, DemoFiles, DemoPlan, read_marker, write_marker
from recaster_tui.demo.worker import Job
from recaster_tui.errors import BadInputError, EnvironmentProblem
from recaster_tui.files import fsync_dir, write_atomic
from recaster_tui.helpers import default_workers
from recaster_tui.workspace import Workspace, open_workspace

log = logging.getLogger(__name__)

_PROJECT = """\
# A demo workspace. The two people in it are synthetic: rendered by recaster from a CC0 head mesh
# (MakeHuman), with landmarks exact by construction. They are nobody, so nobody's consent is needed.

"""
_NOTE = "Synthetic people, rendered by recaster demo: no real person's face is in this project."


@dataclass(frozen=True)
class DemoProgress:
    """How far :func:`make_demo` is."""

    stage: str  # "faces", then "videos", then "done"
    current: int  # of total; starts above 0 where an interrupted demo goes on
    total: int
    text: str


def is_demo(folder: Path) -> bool:
    """Whether *folder* holds a demo workspace made by :func:`make_demo`, complete or not."""
    return (folder / MARKER).is_file()


def make_demo(
    folder: Path,
    *,
    seed: int = 1,
    faces: int = 300,
    video_seconds: float = 20.0,
    size: int = 256,
    workers: int | None = None,
    progress: Callable[[DemoProgress], None] | None = None,
) -> Workspace:
    """Make a DeepFaceLab workspace of two synthetic people in *folder*, or finish one.

    Each side gets *faces* frames (``data_src/00001.jpg`` …), the whole-face aligned face of each
    with its metadata (``data_src/aligned/00001_0.jpg`` …) and a clip of the frames
    (``data_src.mp4``). A complete demo with the same settings is returned at once. Safe to call
    from any thread; an exception from *progress* ends it cleanly.

    Args:
        folder: new, empty, or a demo.
        seed: 0 to 2**31 - 1; the same seed gives the same pictures.
        faces: per person, 1 to 100000.
        video_seconds: length of each clip; 1 to 60 faces fall into a second.
        size: side of an aligned face in pixels, 64 to 1024.
        workers: processes; None for one per core, 1 to work in this one.
        progress: called in this thread at each step.

    Raises:
        BadInputError: a setting out of range; *folder* holds something else, or a demo with
            other settings.
        EnvironmentProblem: the disk is full or read-only, or a helper process died.
        DamagedError: the folder's ``demo.toml`` is damaged.
    """
    folder = folder.expanduser().resolve()
    plan = DemoPlan(seed=seed, faces=faces, video_seconds=float(video_seconds), size=size)
    tell = progress or (lambda _: None)
    if _already_complete(folder, plan):
        tell(DemoProgress("done", 1, 1, "the demo is there already"))
        return open_workspace(folder)
    try:
        _prepare(folder, plan)
    except OSError as error:
        raise EnvironmentProblem(f"cannot make the demo here ({error})", where=folder) from error

    files = DemoFiles(folder)
    count = default_workers() if workers is None else max(1, workers)
    every = [Job(side, index) for index in range(plan.faces) for side in SIDES]
    missing = [job for job in every if job.index is None or not files.has(job.side, job.index)]
    if missing:
        log.info("rendering %d demo frames with %d workers", len(missing), count)
    _work(folder, plan, missing, count, tell, "faces", len(every), "rendering synthetic people")

    # A clip is remade with its frames: an old one might lack what was just rendered.
    remade = {job.side for job in missing}
    clips = [Job(side) for side in SIDES if side in remade or not files.video(side).is_file()]
    _work(folder, plan, clips, count, tell, "videos", len(SIDES), "encoding the clips")

    for side in SIDES:
        fsync_dir(files.face(side, 0).parent)
    write_marker(folder, plan, complete=True)
    tell(DemoProgress("done", 1, 1, "the demo is ready"))
    return open_workspace(folder)


def _work(
    folder: Path,
    plan: DemoPlan,
    jobs: list[Job],
    workers: int,
    tell: Callable[[DemoProgress], None],
    stage: str,
    total: int,
    text: str,
) -> None:
    start = total - len(jobs)
    tell(DemoProgress(stage, start, total, text))
    # Closing ends the workers at once, whatever *tell* raised.
    with closing(run_jobs(folder, plan, jobs, workers)) as finished:
        for done, _ in enumerate(finished, start + 1):
            tell(DemoProgress(stage, done, total, text))


def _already_complete(folder: Path, plan: DemoPlan) -> bool:
    """Whether the demo in *folder* needs nothing; raises where *folder* is not for us."""
    if folder.exists() and not folder.is_dir():
        raise BadInputError("the demo wants a folder, and this is a file", where=folder)
    if not folder.is_dir() or not any(folder.iterdir()):
        return False
    found = read_marker(folder)
    if found is None:
        raise BadInputError(
            "this folder is not empty and holds no demo; nothing was written",
            where=folder,
            hint=f"name a new folder: recaster demo {folder.parent / 'recaster-demo'}",
        )
    present, complete = found
    if complete and replace(present, version=plan.version) == plan:
        log.info("a demo of version %d is taken as it is", present.version)
        return True
    if present != plan:
        wanted, has = asdict(plan), asdict(present)
        names = [name for name in wanted if wanted[name] != has[name]]
        raise BadInputError(
            "this folder holds a demo with other settings: "
            + ", ".join(f"{name} {has[name]}, not {wanted[name]}" for name in names),
            where=folder,
            hint=f"open it with: recaster {folder}"
            if complete
            else "ask for the same settings to finish it, or name another folder",
        )
    return complete


def _prepare(folder: Path, plan: DemoPlan) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # About a quarter of a byte per frame pixel for the JPEG, as much for face and clip.
    width, height = plan.frame_size
    need = 2 * plan.faces * width * height // 2
    free = shutil.disk_usage(folder).free
    if free < need:
        raise EnvironmentProblem(
            f"the demo takes about {need // 2**20 + 1} MB and the disk has {free // 2**20} MB",
            where=folder,
            hint="free some space, or ask for fewer faces",
        )
    write_marker(folder, plan, complete=False)
    for side in SIDES:
        aligned = DemoFiles(folder).face(side, 0).parent
        aligned.mkdir(parents=True, exist_ok=True)
        for place in (aligned, aligned.parent):
            for torn in place.glob(".*.tmp"):  # a killed run's
                torn.unlink(missing_ok=True)
    (folder / "model").mkdir(exist_ok=True)
    project = folder / "recaster.toml"
    if not project.exists():
        table = {"face_type": "whole", "synthetic": True, "consent": _NOTE}
        write_atomic(project, _PROJECT + tomli_w.dumps(table))
