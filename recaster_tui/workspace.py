"""A project folder, in DeepFaceLab's layout or the product's own (DESIGN section 3)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recaster_tui.errors import BadInputError
from recaster_tui.files import expanded, read_toml

VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".avi", ".webm")


@dataclass(frozen=True)
class Workspace:
    """The folders of one project. Paths are absolute; files store them relative to ``root``."""

    root: Path
    src_faces: Path
    dst_faces: Path
    models: Path
    runs: Path
    merged: Path

    @property
    def name(self) -> str:
        """The folder's name, as shown in titles."""
        return self.root.name

    def relative(self, path: Path) -> str:
        """*path* as stored in files: relative to the workspace where it lies inside."""
        try:
            return path.resolve().relative_to(self.root).as_posix()
        except ValueError:
            return str(path.resolve())

    def absolute(self, stored: str) -> Path:
        """The inverse of :meth:`relative`."""
        return (self.root / stored).resolve()

    def video(self, side: str) -> Path | None:
        """``data_src.*`` or ``data_dst.*`` (side is ``src`` or ``dst``), where there is one."""
        for suffix in VIDEO_SUFFIXES:
            path = self.root / f"data_{side}{suffix}"
            if path.is_file():
                return path
        return None


def stored_options(model_folder: Path) -> dict[str, Any]:
    """Options that the model in ``model/<name>.<class>`` was last saved with; {} = no model.

    Those of the generation that ``CURRENT`` names, else of the newest whose ``state.toml`` can be
    read: the trainer falls back in the same way.
    """
    root = model_folder / "generations"
    try:
        current = (model_folder / "CURRENT").read_text("utf-8", "replace").strip()
        names = sorted((p.name for p in root.iterdir() if p.name[:1].isdigit()), reverse=True)
    except OSError:
        return {}
    for name in sorted(names, key=lambda name: name != current):
        try:
            options = read_toml(root / name / "state.toml").get("options")
        except (OSError, ValueError):
            continue
        if isinstance(options, dict):
            return options
    return {}


def looks_like_workspace(root: Path) -> bool:
    """Whether *root* holds one of the folder names of a project, or its two videos."""
    names = ["data_src", "data_dst", "src", "dst", "model", "runs", "recaster.toml"]
    names += [f"data_{side}{suffix}" for side in ("src", "dst") for suffix in VIDEO_SUFFIXES]
    return root.is_dir() and any((root / n).exists() for n in names)


def open_workspace(root: Path, *, must_look_right: bool = True) -> Workspace:
    """Find the folders of the project in *root*.

    DeepFaceLab's ``data_src/aligned`` wins over ``data_src`` itself (faces lying directly in
    it), and both win over the product's ``src``.

    Raises:
        BadInputError: *root* is missing, no folder, or (unless told not to care) no project.
    """
    root = expanded(root).resolve()
    if root.is_file():
        raise BadInputError(
            "this is a file, not a workspace folder",
            where=root,
            hint="a workspace is a folder that holds data_src/aligned and data_dst/aligned",
        )
    if not root.is_dir():
        raise BadInputError(
            "no such workspace folder",
            where=root,
            hint="make a synthetic one to try things on: recaster demo " + str(root),
        )
    if must_look_right and not looks_like_workspace(root):
        raise BadInputError(
            "this folder does not look like a workspace: it has neither data_src/ nor src/",
            where=root,
            hint="a workspace holds data_src/aligned and data_dst/aligned; try: recaster demo DIR",
        )
    return Workspace(
        root=root,
        src_faces=_faces_dir(root, "src"),
        dst_faces=_faces_dir(root, "dst"),
        models=root / "model",
        runs=root / "runs",
        merged=root / "merged",
    )


def _faces_dir(root: Path, side: str) -> Path:
    dfl = root / f"data_{side}"
    candidates = [dfl / "aligned", dfl, root / side / "aligned", root / side]
    for folder in candidates:
        holds_faces = folder.is_dir() and (
            folder.name == "aligned"
            or (folder / "faceset.pak").exists()
            or any(p.suffix == ".jpg" for p in folder.iterdir())
        )
        if holds_faces:
            return folder
    return dfl / "aligned"
