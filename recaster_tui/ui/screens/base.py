"""What every mode's screen shares: bar above, body, keys below."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.containers import Container
from textual.screen import Screen
from textual.widget import Widget
from textual.worker import Worker

from recaster_tui.ui.bugs import tell_of_worker
from recaster_tui.ui.widgets.bars import KeyBar, TopBar

if TYPE_CHECKING:
    from recaster_tui.ui.app import RecasterApp


class ModeScreen(Screen[None]):
    """Base of the screens behind the number keys.

    Subclasses give :meth:`body`, set ``BINDING_GROUP_TITLE`` (the heading in the help) and may
    override :meth:`tick`, called twice a second while the screen is visible: read the
    supervisor there, hold no state of your own. The screen has the class ``-narrow`` below 110
    columns, else ``-wide``; ``-short`` below 32 rows, else ``-tall``.
    """

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]  # noqa: RUF012 - Textual's type
    VERTICAL_BREAKPOINTS = [(0, "-short"), (32, "-tall")]  # noqa: RUF012
    TICK_SECONDS: ClassVar[float] = 0.5

    def compose(self) -> ComposeResult:
        """Bar, body, keys."""
        yield TopBar()
        with Container(id="body"):
            yield from self.body()
        yield KeyBar()

    def body(self) -> Iterable[Widget]:
        """The screen's own widgets."""
        raise NotImplementedError

    def tick(self) -> None:
        """Show what is new."""

    @property
    def recaster(self) -> "RecasterApp":
        """The app, typed."""
        from recaster_tui.ui.app import RecasterApp

        assert isinstance(self.app, RecasterApp)
        return self.app

    def on_mount(self) -> None:
        """Start ticking; hidden screens do not."""
        # Textual calls the on_mount of every class itself: super().on_mount() would be a second.
        self._ticker = self.set_interval(self.TICK_SECONDS, self._tick)
        self.call_after_refresh(self._tick)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """A worker that fails must not do so in silence."""
        tell_of_worker(self.recaster, event)

    def on_screen_suspend(self) -> None:
        """Another screen is in front."""
        self._ticker.pause()

    def on_screen_resume(self) -> None:
        """In front again."""
        if hasattr(self, "_ticker"):
            self._ticker.resume()
            self.call_after_refresh(self._tick)

    def _tick(self) -> None:
        if self.is_current:
            self.query_one(TopBar).update_lines()
            self.tick()
