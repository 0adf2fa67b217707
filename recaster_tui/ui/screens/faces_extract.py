"""What an extraction is asked for."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from recaster_tui.ui.face_side import has_frames
from recaster_tui.ui.widgets.field_form import Field, FieldForm
from recaster_tui.workspace import Workspace

_NO_YES = (("no", "no"), ("yes", "yes"))
_FLAGS = ("smooth", "debug", "fresh")


def extract_fields(workspace: Workspace, side: str, have: int) -> list[Field]:
    """The settings, as they usually are."""
    video = workspace.video(side)
    folder = (workspace.src_faces if side == "src" else workspace.dst_faces).parent
    there = [workspace.relative(folder)] if has_frames(folder) else []
    if video is not None:
        there.append(video.name)
    chosen = there[0] if there else ""
    inputs = [(name, name) for name in there]
    return [
        Field("input", "from", chosen, choices=inputs,
              help="Frames that lie there, or the video itself.")
        if len(inputs) > 1
        else Field("input", "from", chosen,
                   help="A video or a folder of pictures; paths begin at the workspace."),
        Field("face_type", "face type", "whole",
              help="How much of the head is shown. Whole face suits most models; head needs XSeg.",
              choices=[("half", "half face"), ("midfull", "mid-half face"), ("full", "full face"),
                       ("whole", "whole face"), ("head", "head")]),
        Field("size", "size", "", number=True, low=256, high=2048, optional=True,
              help="Side of a face in pixels, 256 to 2048. Empty: 512, for heads 768."),
        Field("quality", "JPEG quality", "90", number=True, low=1, high=100,
              help="1 to 100; 90 is DeepFaceLab's."),
        Field("max_faces", "faces a frame", "0", number=True, low=0, high=1000,
              help="Only the largest so many of a frame; 0 takes all."),
        Field("every", "every Nth frame", "1", number=True, low=1, high=100_000,
              help="1 takes all frames; 5 every fifth. Neighbours hardly differ."),
        Field("fps", "or frames a second", "", number=True, decimal=True, low=0.01, high=1000,
              optional=True, help="Of a video; empty: all. Only one of this and every Nth."),
        Field("smooth", "smooth landmarks", "no", choices=_NO_YES,
              help="Over time; steadier crops where the head moves little between frames."),
        Field("debug", "debug pictures", "no", choices=_NO_YES,
              help="Also each frame with what was found in it, to aligned_debug."),
        Field("fresh", "begin anew", "no", choices=_NO_YES,
              help=(f"yes moves the {have:,} faces that are there to the trash first; no goes on "
                    "where an extraction was stopped." if have else
                    "yes forgets an extraction that was stopped; no goes on where it was.")),
    ]  # fmt: skip


def extract_arguments(root: str, side: str, values: dict[str, str], usual: str) -> list[str]:
    """The command line of these settings."""
    arguments = ["extract", root, side]
    if values["input"] and values["input"] != usual:
        arguments += ["--input", values["input"]]
    for key in ("face_type", "size", "quality", "max_faces", "every", "fps"):
        if values[key]:
            if key == "every" and values["fps"]:
                continue
            arguments += ["--" + key.replace("_", "-"), values[key]]
    arguments += ["--" + key for key in _FLAGS if values[key] == "yes"]
    return arguments


class ExtractScreen(ModalScreen[list[str] | None]):
    """Dismissed with the command's arguments."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Cancel", id="extract-cancel"),
    ]

    def __init__(self, workspace: Workspace, side: str, have: int) -> None:
        super().__init__()
        self._workspace, self._side = workspace, side
        self._fields = extract_fields(workspace, side, have)
        self._usual = self._fields[0].value

    def compose(self) -> ComposeResult:
        """The form."""
        name = "source" if self._side == "src" else "destination"
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = f"Extract the faces of the {name}"
            dialog.border_subtitle = "↑↓ setting · ←→ choose or type · enter starts · esc leaves"
            yield FieldForm(self._fields, id="extract-form")

    def on_mount(self) -> None:
        """Enter starts at once."""
        self.query_one(FieldForm).focus()

    def on_field_form_submitted(self) -> None:
        """Start."""
        values = self.query_one(FieldForm).values
        given = values["input"]
        if given and given != self._usual:
            values = values | {"input": str(self._workspace.absolute(given))}
        arguments = extract_arguments(str(self._workspace.root), self._side, values, self._usual)
        self.dismiss(arguments)
