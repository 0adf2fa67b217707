"""Two faces side by side."""

from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.screen import ModalScreen

from recaster_tui.ui.face_side import FaceSide
from recaster_tui.ui.widgets.face_detail import FaceDetail

if TYPE_CHECKING:
    from recaster_tui.ui.screens.faces_base import FacesBase


class ComparedFaces(ModalScreen[None]):
    """Pictures and values of two faces, of either side."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,C,enter", "dismiss(None)", "Close", id="compared-close"),
        Binding("L", "overlay('landmarks')", "Landmarks", id="compared-landmarks"),
        Binding("M", "overlay('masks')", "Outlines", id="compared-masks"),
        Binding("f", "frame", "Frames", id="compared-frame"),
    ]

    def __init__(
        self, home: "FacesBase", one: tuple[FaceSide, int], other: tuple[FaceSide, int]
    ) -> None:
        super().__init__()
        self._home, self._faces = home, (one, other)
        self._overlays, self._frame = home.overlays, False

    def compose(self) -> ComposeResult:
        """A large frame with two halves."""
        with Vertical(classes="dialog -large") as dialog:
            names = " and ".join(f"{s.name} {s.shown_name(f)}" for s, f in self._faces)
            dialog.border_title = f"Compare {names}".replace("[", "(")
            dialog.border_subtitle = "L landmarks · M outlines · f frames · esc closes"
            with Container(classes="face-pair"):
                yield FaceDetail(id="face-one", text_right=False)
                yield FaceDetail(id="face-other", text_right=False)

    def on_mount(self) -> None:
        """Draw both."""
        for detail in self.query(FaceDetail):
            detail.pictures = self._home.detail.pictures
        self.call_after_refresh(self._show)

    def _show(self) -> None:
        for detail, (side, face) in zip(self.query(FaceDetail), self._faces, strict=True):
            key = (side.side, face, self._overlays, self._frame)
            detail.show(key, self._home.painter(side, face, self._overlays, frame=self._frame))

    def action_overlay(self, what: str) -> None:
        """Landmarks or outlines on both."""
        from recaster_tui.ui.face_picture import Overlay
        from recaster_tui.ui.screens.faces_base import MASK_OVERLAYS

        wanted = frozenset({Overlay.LANDMARKS}) if what == "landmarks" else MASK_OVERLAYS
        on = bool(self._overlays & wanted)
        self._overlays = self._overlays - wanted if on else self._overlays | wanted
        self._show()

    def action_frame(self) -> None:
        """The frames they are from."""
        self._frame = not self._frame
        self._show()
