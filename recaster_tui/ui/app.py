"""The app: modes, keys for everywhere, palette, signals. It holds no state of a run."""

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.notifications import SeverityLevel
from textual.screen import Screen
from textual.widget import AwaitMount
from textual.worker import Worker

from recaster_tui.errors import BadInputError, RecasterError
from recaster_tui.files import write_atomic
from recaster_tui.options import ModelClass, defaults
from recaster_tui.supervisor import Run, RunRequest, Supervisor, default_model_name
from recaster_tui.supervisor.queue import Queue
from recaster_tui.ui.bugs import tell_of_worker
from recaster_tui.ui.leaving import end_soon
from recaster_tui.ui.modes import ALL_MODES
from recaster_tui.ui.queue_watch import LOOK_SECONDS, QueueWatch
from recaster_tui.ui.recent import remember_workspace
from recaster_tui.ui.screens.dialogs import Dialog
from recaster_tui.ui.settings import load_settings, save_setting
from recaster_tui.ui.terminal import TerminalInfo
from recaster_tui.ui.theme import default_theme_name, load_themes, theme_variable_defaults
from recaster_tui.workspace import Workspace, open_workspace

log = logging.getLogger(__name__)


class RecasterApp(App[int]):
    """Shows one workspace and the runs that the supervisor knows."""

    TITLE = "recaster"
    CSS_PATH: ClassVar[list[str]] = [  # type: ignore[assignment]
        "styles/app.tcss",
        "styles/train.tcss",
        "styles/project.tcss",
        "styles/runs.tcss",
        "styles/faces.tcss",
    ]
    MODES: ClassVar[dict[str, Callable[[], Screen[Any]]]] = {  # type: ignore[assignment]
        mode.name: mode.make for mode in ALL_MODES
    }
    DEFAULT_MODE = "train"
    ENABLE_COMMAND_PALETTE = True
    BINDING_GROUP_TITLE = "Everywhere"
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(
                mode.key,
                f"switch_mode('{mode.name}')",
                mode.title,
                show=False,
                id=f"mode-{mode.name}",
            )
            for mode in ALL_MODES
        ),
        Binding("question_mark,f1", "keys", "Keys", show=False, id="keys", tooltip="This list"),
        # Both keys: Textual adds ctrl+p of its own only where nothing else opens the palette.
        # It works in the midst of typing, too; a colon there is text.
        Binding(
            "ctrl+p", "command_palette", "All actions", show=False, id="palette", priority=True
        ),
        Binding("colon", "command_palette", "All actions", show=False, id="palette-colon"),
        Binding("t", "change_theme", "Theme", show=False, id="theme"),
        Binding(
            "q,ctrl+q", "quit", "Quit", show=False, id="quit", tooltip="Asks if runs are alive"
        ),
        Binding("ctrl+l", "repaint", "Repaint", show=False, id="repaint"),
    ]

    def __init__(
        self,
        workspace: Workspace | None,
        *,
        terminal: TerminalInfo | None = None,
        supervisor: Supervisor | None = None,
        theme: str | None = None,
        autostart: RunRequest | None = None,
        watch: bool = True,
        mode: str | None = None,
    ) -> None:
        # Textual reads it while it is being set up.
        usual_mode = "train" if workspace is not None else "project"
        self.DEFAULT_MODE = mode or usual_mode  # type: ignore[misc]
        super().__init__()
        self.workspace = workspace
        self.terminal = terminal
        self.supervisor = supervisor or Supervisor()
        self.queue = Queue(self.supervisor.history.folder.parent)
        self.queue_watch = QueueWatch(self.queue, self.supervisor)
        self.current_run: Run | None = None
        self.modes_shown = ALL_MODES
        self.on_leaving: list[Callable[[], Awaitable[None]]] = []
        self._autostart = autostart
        self.after_paint: list[Callable[[Any], None]] = []
        """Told what Textual has just written: pixels that lay there must be drawn again."""
        self.ending: set[str] = set()
        """Runs whose trainer is being ended because it did not react."""
        self._left_run = False
        self._known_live: set[str] = set()
        self._watch = watch
        themes = load_themes()
        self._problems = list(themes.problems)
        self.own_themes = frozenset(themes.files)
        for file in themes.files.values():
            self.register_theme(file.theme)
        colors = terminal.colors if terminal is not None else "truecolor"
        usual = default_theme_name(os.environ, colors)
        wanted = theme or str(load_settings().get("theme", usual))
        if wanted in self.available_themes:
            self.theme = wanted
        else:
            chosen, why = themes.choose(wanted)
            self.theme = chosen.name
            self._problems += [why] if why else []
        self._remembered_theme = self.theme

    # -- life -----------------------------------------------------------------------------------

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Our own variables, for themes that lack them."""
        return theme_variable_defaults()

    def on_mount(self) -> None:
        """Signals, the supervisor, and the run to show."""
        self._handle_signals()
        for problem in self._problems:
            self.notify(problem, title="Themes", severity="warning")
        self.theme_changed_signal.subscribe(self, self._keep_theme)
        self.run_worker(self._begin(), group="begin", exit_on_error=False)
        if self._watch:
            self.set_interval(LOOK_SECONDS, self.wake_queue)
            self.call_after_refresh(self.wake_queue)

    async def _begin(self) -> None:
        """Take in the workspace's runs; show the living one, else the last."""
        try:
            await self.supervisor.load_history()
            if self.workspace is not None:
                await asyncio.to_thread(remember_workspace, self.workspace.root)
                await self.supervisor.adopt(self.workspace, at_once=8 if self._watch else None)
            if self._watch:
                self.supervisor.start_background(self.workspace)
            if self.workspace is None:
                return
            if self.current_run is None:
                found = await self._run_to_show()
                # Reading it may have taken a while: somebody may have chosen another meanwhile.
                self.current_run = self.current_run or found
            wish, self._autostart = self._autostart, None
            if wish is not None and not self._live_here():
                self.current_run = await self.supervisor.start(self.workspace, wish)
        except RecasterError as error:
            self.notify(str(error), severity="error", timeout=15)
        except OSError as error:
            log.exception("starting")
            self.notify(f"cannot read the workspace: {error}", severity="error", timeout=15)

    async def _run_to_show(self) -> Run | None:
        if live := self._live_here():
            return live[0]
        root = str(self.workspace.root) if self.workspace else ""
        for record in self.supervisor.records():
            if record.workspace == root and not record.missing:
                with contextlib.suppress(RecasterError):
                    return await self.supervisor.attach(record.run_id, record=record)
        return None

    def _live_here(self) -> list[Run]:
        root = self.workspace.root if self.workspace else None
        return [r for r in self.supervisor.live_runs() if r.workspace_root == root]

    async def on_unmount(self) -> None:
        """Let go of the runs; they go on. What helped this screen alone ends with it."""
        for close in self.on_leaving:
            with contextlib.suppress(OSError, RuntimeError):
                await close()
        await self.supervisor.aclose()

    def _display(self, screen: Screen[Any], renderable: Any) -> None:
        super()._display(screen, renderable)
        for follow in self.after_paint if renderable is not None else ():
            follow(renderable)

    if not TYPE_CHECKING:  # for the checker it stays as Textual declares it

        def push_screen(self, screen, callback=None, wait_for_dismiss=False, **more):
            """One question at a time: a dialog over one nobody can have read yet is not asked."""
            if isinstance(screen, Dialog) and getattr(self.screen, "fresh", False):
                if not wait_for_dismiss:
                    return AwaitMount(screen, [])
                unasked = asyncio.get_running_loop().create_future()
                unasked.set_result(None)
                return unasked
            return super().push_screen(screen, callback, wait_for_dismiss, **more)

    # -- bugs -----------------------------------------------------------------------------------

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """A worker that fails must not do so in silence."""
        tell_of_worker(self, event)

    @property
    def crash(self) -> Exception | None:
        """The exception that nobody handled and that ended the app."""
        return self._exception

    def _handle_exception(self, error: Exception) -> None:
        log.critical("unexpected", exc_info=error)
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        # Textual would render the traceback with every local variable, over the user's shell.
        self._close_messages_no_wait()

    def _print_error_renderables(self) -> None:
        if self._exception is not None:  # run_app raises it; the command line tells of it
            self._exit_renderables.clear()
        super()._print_error_renderables()

    def _handle_signals(self) -> None:
        # Textual dies of these without giving the terminal back (spec/terminal.md 6).
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(number, self._die_of, number)

    def _die_of(self, number: signal.Signals) -> None:
        log.info("ended by %s", number.name)
        end_soon(128 + number)
        self.exit(return_code=128 + number)

    def wake_queue(self) -> None:
        """See that what waits in the queue is worked off, now and not in a few seconds."""
        if self._watch:
            self.run_worker(self._look_at_queue(), group="queue", exit_on_error=False)

    async def _look_at_queue(self) -> None:
        shown = self.current_run.run_id if self.current_run is not None else ""
        for news in await self.queue_watch.look():
            if not (news.run_id and news.run_id == shown):  # Train tells of what it shows
                self.notify(news.text, title=news.title, severity=news.severity, timeout=8)

    # -- what screens use -----------------------------------------------------------------------

    @property
    def suggested_model_name(self) -> str:
        """For a first model: the workspace's name."""
        return default_model_name(self.workspace.name) if self.workspace else "new"

    def open_workspace(self, root: Path) -> None:
        """Show another project. Runs of the one before go on and are still followed.

        Raises:
            BadInputError: *root* is no workspace.
        """
        self.workspace = open_workspace(root)
        self.show_run(None)
        self._left_run = False
        self._known_live = set()
        self.run_worker(self._begin(), group="begin", exclusive=True, exit_on_error=False)

    def show_run(self, run: Run | None) -> None:
        """Make *run* the one the Train screen shows; None stays until another is chosen."""
        self.current_run, self._left_run = run, run is None
        self._known_live = {live.run_id for live in self._live_here()}

    def follow_new_run(self) -> None:
        """A run of this workspace that somebody else started replaces one that is over."""
        shown = self.current_run
        if self._left_run or (shown is not None and not shown.state.over):
            return
        # Who opened an old run while another one was alive wants to look at the old one.
        live = [run for run in self._live_here() if run.run_id not in self._known_live]
        if live and (shown is None or live[0].spec.created > shown.spec.created):
            self.current_run = live[0]

    def notify(  # noqa: D102 - as App.notify
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = True,
    ) -> None:
        # What is said in passing makes room for the next word, and nothing is said twice: a pile
        # of messages would cover what they are about.
        for old in list(self._notifications):
            if old.severity == "information" or (old.title, old.message) == (title, message):
                self._unnotify(old, refresh=False)
        # Messages quote paths, values and other programs: brackets in them are no markup.
        super().notify(message, title=title, severity=severity, timeout=timeout, markup=False)

    async def open_run(self, run_id: str) -> None:
        """Attach to a run and go to the Train screen.

        Raises:
            RecasterError: there is no such run, or its folder is gone or damaged.
        """
        self.show_run(await self.supervisor.attach(run_id))
        await self.switch_mode("train")

    async def start_training(
        self, model: ModelClass, options: dict[str, Any], name: str, device: str
    ) -> Run:
        """Go on with the shown run where nothing was changed, else begin a new run.

        Raises:
            RecasterError: it cannot be started; says why.
        """
        if self.workspace is None:
            raise BadInputError("no workspace is open", hint="open one on the Project screen (1)")
        if self.would_resume(model, options, name, device):
            assert self.current_run is not None
            return await self.supervisor.resume(self.current_run.run_id)
        request = RunRequest(model_class=model, options=options, model_name=name, device=device)
        return await self.supervisor.start(self.workspace, request)

    def would_resume(
        self, model: ModelClass, options: Mapping[str, Any], name: str, device: str
    ) -> bool:
        """Whether the shown run, which is over, would go on with just this configuration.

        Live changes belong to it: the trainer takes them up again from the model's state.
        """
        run = self.current_run
        if run is None or not run.state.over:
            return False
        spec = run.spec
        usual = defaults(spec.model_class).model_dump()
        ran = usual | {key: value for key, value in run.options.items() if key in usual}
        kinds = ("saved", "restored", "option")
        changes = (mark.kind for mark in reversed(run.markers) if mark.kind in kinds)
        return (
            (spec.model_class, spec.model_name, spec.device) == (model, name, device)
            and options == ran
            and run.target_iterations == int(ran.get("target_iterations") or 0)
            and next(changes, "saved") != "option"  # what no save holds, the trainer has forgotten
        )

    # -- actions --------------------------------------------------------------------------------

    def action_keys(self) -> None:
        """The help of this screen."""
        from recaster_tui.ui.screens.help import HelpScreen, chart_marks

        screen = self.screen
        if isinstance(screen, HelpScreen):
            return
        title = screen.BINDING_GROUP_TITLE or type(screen).__name__
        bindings = list(screen.active_bindings.values())
        notes = getattr(screen, "HELP_NOTES", ("", ()))
        self.push_screen(HelpScreen(bindings, title, chart_marks(screen), notes))

    def action_repaint(self) -> None:
        """Draw everything again, after something else wrote to the terminal."""
        self.refresh(repaint=True, layout=True)

    def action_screenshot(self, filename: str | None = None, path: str | None = None) -> None:
        """Save what is shown as SVG: in the workspace, else in the current folder."""
        usual = self.workspace.root / "screenshots" if self.workspace else Path.cwd()
        name = filename or time.strftime("recaster-%Y%m%d-%H%M%S.svg")
        target = (Path(path) if path else usual) / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(target, self.export_screenshot())
        except OSError as error:
            why = error.strerror or str(error)
            self.notify(f"{why}\n{target}", title="No screenshot", severity="error", timeout=10)
        else:
            self.notify(str(target), title="Screenshot", timeout=8)

    def search_themes(self) -> None:
        """Choose among our themes and the user's own; Textual's stock ones know no curves."""
        from textual.command import CommandPalette

        from recaster_tui.ui.theme import OwnThemes

        self.push_screen(CommandPalette(providers=[OwnThemes], placeholder="Search for themes…"))

    async def action_quit(self) -> None:
        """Leave; with runs alive, ask what becomes of them."""
        from recaster_tui.ui.screens.quit import ask_and_quit, farewell

        live = self.supervisor.live_runs()
        if live:
            ask_and_quit(self, live)
        else:
            self.exit(0, message=farewell(self))

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Every action that has a key here, and a few that need none."""
        seen: set[str] = set()
        for active in screen.active_bindings.values():
            binding = active.binding
            if not binding.description or binding.system or binding.action in seen:
                continue
            if binding.action in ("command_palette",) or not active.enabled:
                continue
            seen.add(binding.action)
            yield SystemCommand(
                binding.description,
                binding.tooltip or f"key: {binding.key}",
                self._runner(binding.action, active.node),
            )
        yield SystemCommand(
            "Screenshot",
            "Save this screen as SVG, in screenshots/ of the workspace",
            lambda: self.set_timer(0.1, self.action_screenshot),  # the palette must be gone
        )

    def _runner(self, action: str, node: Any) -> Callable[[], Any]:
        async def run() -> None:
            await self.run_action(action, default_namespace=node)

        return run

    def _keep_theme(self, theme: Any) -> None:
        if theme.name != self._remembered_theme:
            self._remembered_theme = theme.name
            save_setting("theme", theme.name)
