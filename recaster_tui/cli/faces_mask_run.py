"""``recaster faces mask``."""

import io
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from recaster_tui.cli.faces_words import say
from recaster_tui.cli.model_store import OurEntry, choose, find_all
from recaster_tui.cli.progress import terminal_reporter
from recaster_tui.errors import BadInputError, ExitCode
from recaster_tui.faces.catalog import shown_name
from recaster_tui.faces.faceset import Skipped
from recaster_tui.files import expanded
from recaster_tui.jobs import Reporter, reporting
from recaster_tui.masking.apply import MaskReport, Target, apply_masks, remove
from recaster_tui.masking.auto import load_auto
from recaster_tui.masking.fetch import fetch_labelled
from recaster_tui.masking.judge import worst_first
from recaster_tui.masking.masker import Masker
from recaster_tui.masking.serve import serve
from recaster_tui.masking.xseg import DFL_WEIGHTS, load_dfl, load_ours
from recaster_tui.options import ModelClass
from recaster_tui.training.models.base import pick_device
from recaster_tui.workspace import Workspace, open_workspace

AUTO = "auto"


@dataclass(frozen=True)
class Wanted:
    """The command's parameters; see its help."""

    workspace: Path | None
    side: str | None
    with_: str | None
    to: str | None
    only_unlabelled: bool
    remove: str | None
    fetch: bool
    move: bool
    worst: int | None
    serve: bool
    device: str


def mask(wanted: Wanted, *, as_json: bool, job: Path | None) -> int:
    """Do what *wanted* says.

    Raises:
        BadInputError: parameters that exclude each other, no such workspace, model or side.
        DamagedError: the model, or the pack, cannot be used.
    """
    _check(wanted)
    if wanted.serve:
        return _serve(wanted)
    if wanted.workspace is None or wanted.side is None:
        raise BadInputError(
            "say which faces: recaster faces mask WORKSPACE src (or dst)",
            hint="only --serve needs neither",
        )
    workspace = open_workspace(wanted.workspace)
    folder = workspace.src_faces if wanted.side == "src" else workspace.dst_faces
    with reporting(job, "mask", wanted.side, lambda: terminal_reporter(as_json)) as report:
        if wanted.fetch:
            return _fetch(folder, wanted, report, as_json)
        if wanted.worst is not None:
            return _worst(workspace, folder, wanted, report, as_json)
        if wanted.remove is not None:
            result = remove(folder, Target(wanted.remove), report)
            words = _words(result, f"removed the {wanted.remove} of", None)
            return _tell(result, words, None, report if job else None, as_json)
        masker = find_masker(wanted.with_ or AUTO, workspace, wanted.device)
        target = Target(wanted.to or Target.MASK)
        result = apply_masks(
            folder, masker, report, target=target, only_unlabelled=wanted.only_unlabelled
        )
        words = _words(result, f"wrote the {target} of", masker.name)
        return _tell(result, words, masker.name, report if job else None, as_json)


def find_masker(name: str, workspace: Workspace | None, device: str = "auto") -> Masker:
    """What draws masks under this *name*: ``auto``, a model of the workspace, or a path.

    Raises:
        BadInputError: there is no such model, or it is no XSeg.
        DamagedError: it cannot be used.
    """
    place = pick_device(device)
    if name == AUTO:
        return load_auto(device=place)
    path = expanded(name)
    if path.suffix == ".npy" or (path.is_dir() and (path / DFL_WEIGHTS).is_file()):
        return load_dfl(path, place)
    if path.is_dir() and path.name.endswith(f".{ModelClass.XSEG}"):
        return load_ours(path, place)
    if workspace is None:
        raise BadInputError(f"no model {name}", hint="give auto, or the path of an XSeg model")
    entries = [e for e in find_all(workspace) if e.model_class is ModelClass.XSEG]
    if (workspace.models / DFL_WEIGHTS).is_file() and name == "XSeg" and not entries:
        return load_dfl(workspace.models, place)  # the weights alone, without the training's state
    if not entries:
        raise BadInputError(
            f"no XSeg model {name}",
            where=workspace.models,
            hint="train one on labelled faces (recaster train … --config xseg), or give auto",
        )
    entry = choose(entries, name, workspace.models)
    if isinstance(entry, OurEntry):
        return load_ours(entry.folder, place)
    return load_dfl(entry.folder, place)


def _check(wanted: Wanted) -> None:
    actions = {
        "--remove": wanted.remove is not None,
        "--fetch": wanted.fetch,
        "--worst": wanted.worst is not None,
        "--serve": wanted.serve,
        "--to": wanted.to is not None or wanted.only_unlabelled,
    }
    given = [name for name, there in actions.items() if there]
    if len(given) > 1:
        raise BadInputError(f"{' and '.join(given)} do not go together")
    if wanted.move and not wanted.fetch:
        raise BadInputError("--move goes with --fetch only")
    if wanted.with_ is not None and (wanted.fetch or wanted.remove is not None):
        raise BadInputError(f"{given[0]} draws no masks: leave --with out")
    if wanted.worst is not None and wanted.worst < 0:
        raise BadInputError("--worst takes a number of faces; 0 lists none")


def _serve(wanted: Wanted) -> int:
    workspace = open_workspace(wanted.workspace) if wanted.workspace is not None else None
    name = wanted.with_ or AUTO
    # Answers have standard output for themselves, whatever a library may print.
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with answers:
        serve(sys.stdin, answers, lambda: find_masker(name, workspace, wanted.device))
    return ExitCode.OK


def _fetch(folder: Path, wanted: Wanted, report: Reporter, as_json: bool) -> int:
    result = fetch_labelled(folder, report, move=wanted.move)
    if as_json:
        _say(_plain(asdict(result)))
    else:
        words = f"{result.copied} labelled faces are in {result.target}"
        if result.trashed:
            words += f"; {result.trashed} originals are in the trash"
        if result.different:
            words += f"; {len(result.different)} are there with another content and stayed so"
        say(words)
    return _code(result.stopped, result.skipped, result.copied)


def _worst(
    workspace: Workspace, folder: Path, wanted: Wanted, report: Reporter, as_json: bool
) -> int:
    assert wanted.worst is not None
    auto: Callable[[], Masker] = cache(lambda: find_masker(AUTO, workspace, wanted.device))
    masker = None if wanted.with_ is None else find_masker(wanted.with_, workspace, wanted.device)
    judged = worst_first(folder, report, masker, auto)
    shown = judged.faces[: wanted.worst]
    if as_json:
        faces = [{**asdict(f), "name": shown_name(f.name)} for f in shown]
        _say({"faces": faces, "judged": len(judged.faces), "stopped": judged.stopped,
              "skipped": [asdict(s) for s in judged.skipped]})  # fmt: skip
    else:
        for found in shown:
            say(f"{found.value:.3f}  {found.against:5}  {shown_name(found.name)}")
    return _code(judged.stopped, judged.skipped, len(judged.faces))


def _words(result: MaskReport, what: str, drawn_by: str | None) -> str:
    words = f"{what} {result.changed} faces"
    if drawn_by is not None:
        words += f", drawn by {drawn_by}"
        if result.replaced:
            words += f"; {result.replaced} had one before, which undo brings back"
    if result.unchanged:
        words += f"; {result.unchanged} left as they are"
    if result.skipped:
        words += f"; {len(result.skipped)} could not be used"
    return words


def _tell(
    result: MaskReport, words: str, drawn_by: str | None, job: Reporter | None, as_json: bool
) -> int:
    """The answer on stdout; in a *job*'s events, too, which is where the screen reads it.

    What could not be used was said on the way, as warnings.
    """
    if as_json:
        _say(_plain(asdict(result) | {"with": drawn_by}))
    else:
        say(words)
    if job is not None:
        job.note(words)
    return _code(result.stopped, result.skipped, result.changed + result.unchanged)


def _code(stopped: bool, skipped: list[Skipped], good: int) -> int:
    if stopped:
        return ExitCode.INTERRUPTED
    return ExitCode.DAMAGED if skipped and not good else ExitCode.OK


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    return {key: str(v) if isinstance(v, Path) else v for key, v in value.items()}


def _say(value: Any) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
