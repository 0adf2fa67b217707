"""What a user wants trained, and whether it can be: the way to a ``run.toml``."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from recaster_tui.checkpoints.store import current_name, iteration_of
from recaster_tui.errors import BadInputError
from recaster_tui.options import ModelClass, validate
from recaster_tui.protocol import RunSpec, new_run_id
from recaster_tui.workspace import Workspace, stored_options


@dataclass(frozen=True)
class RunRequest:
    """What the user wants trained. ``options`` may be partial: defaults fill it.

    ``target_iterations`` None takes the option's value; 0 means no end.
    """

    model_class: ModelClass
    options: Mapping[str, Any] = field(default_factory=dict)
    model_name: str = "new"
    device: str = "auto"
    target_iterations: int | None = None
    target_seconds: float = 0.0


class ModelBusyError(BadInputError):
    """A run trains this model already; it may be asked for again when that has ended."""


def make_spec(workspace: Workspace, request: RunRequest, run_id: str | None = None) -> RunSpec:
    """The description of the run that *request* asks for, every option checked.

    Raises:
        OptionsError, BadInputError: what was asked for cannot be done.
    """
    own = stored_options(workspace.models / f"{request.model_name}.{request.model_class}")
    checked = validate(request.model_class, request.options, trusted=own)
    options = checked.model_dump(mode="json")
    if request.target_iterations is not None:
        options["target_iterations"] = request.target_iterations
    try:
        return RunSpec(
            run_id=run_id or new_run_id(request.model_class),
            created=time.time(),
            model_name=request.model_name,
            model_class=request.model_class,
            options=options,
            src=workspace.relative(workspace.src_faces),
            dst=workspace.relative(workspace.dst_faces),
            models=workspace.relative(workspace.models),
            device=request.device,
            target_iterations=int(options.get("target_iterations") or 0),
            target_seconds=request.target_seconds,
        )
    except ValidationError as error:
        raise _bad_request(request, error) from error


def default_model_name(text: str) -> str:
    """*text* (a workspace's or configuration's name) as a valid model name, or ``new``."""
    name = re.sub(r"[^A-Za-z0-9 .-]+", "-", text).strip(" .-")[:64].rstrip(" .-")
    return name or "new"


def require_faces(
    workspace: Workspace, model_class: ModelClass, options: Mapping[str, Any]
) -> None:
    """Whether there is anything to train on; what faces are usable the trainer will tell.

    Raises:
        BadInputError: a side has none.
    """
    folders = {"source": workspace.src_faces, "destination": workspace.dst_faces}
    hint = "extract faces there first, or try things with: recaster demo DIR"
    if options.get("pretrain") and (stored := options.get("pretrain_faces")):
        folders = {"pretraining": workspace.absolute(str(stored))}
        hint = "pretrain_faces names it; copy aligned faces of many people there"
    elif model_class is ModelClass.XSEG and any(map(_holds_faces, folders.values())):
        return  # both sides are one set to learn from
    for title, folder in folders.items():
        if not _holds_faces(folder):
            raise BadInputError(f"there are no {title} faces", where=folder, hint=hint)


def require_way_to_go(workspace: Workspace, spec: RunSpec) -> None:
    """Whether the target lies ahead of what the model on disk has.

    Raises:
        BadInputError: it has as many iterations already.
    """
    folder = workspace.root / spec.model_folder
    name = current_name(folder)
    there = iteration_of(folder / "generations" / name) if name is not None else 0
    if not 0 < spec.target_iterations <= there:
        return
    stored = stored_options(folder) or {}
    if stored.get("pretrain") and not spec.options.get("pretrain"):
        return  # it begins to count anew
    raise BadInputError(
        f"model '{spec.model_name}' has {there:,} iterations, the target is "
        f"{spec.target_iterations:,}",
        where=folder,
        hint="give it a higher target (all iterations of the model count), or 0 for no end",
    )


def _holds_faces(folder: Path) -> bool:
    """Whether a trainer would find files to read there; whether they are faces it will tell."""
    try:
        return any(p.suffix == ".jpg" or p.name == "faceset.pak" for p in folder.iterdir())
    except NotADirectoryError:
        return folder.suffix == ".pak"
    except OSError:
        return False


def _bad_request(request: RunRequest, error: ValidationError) -> BadInputError:
    place = str(error.errors()[0]["loc"][0]) if error.errors() else ""
    if place == "model_name":
        return BadInputError(
            f"'{request.model_name}' cannot be a model's name",
            hint="use letters, digits, spaces, dots and hyphens, at most 64; for example "
            f"'{default_model_name(request.model_name)}'",
        )
    if place in ("target_iterations", "target_seconds"):
        what = place.removeprefix("target_")
        return BadInputError(
            f"the target of {getattr(request, place):,} {what} is below 0",
            hint=f"give --{what} 0 for no end, or how many the model should have in all"
            if what == "iterations"
            else "give --seconds 0 for no end",
        )
    return BadInputError(f"{place}: {error.errors()[0]['msg']}", hint="see: recaster train --help")
