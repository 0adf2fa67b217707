"""Keys that Train and Runs share: stopping a run, keeping and restoring its model."""

from pathlib import Path
from typing import TYPE_CHECKING

from textual.binding import Binding, BindingType

from recaster_tui.checkpoints.store import iteration_of
from recaster_tui.errors import RecasterError
from recaster_tui.protocol import CommandName
from recaster_tui.ui import snapshot_work, stopping, words
from recaster_tui.ui.screens.base import ModeScreen
from recaster_tui.ui.screens.dialog_words import AskWords, Line

if TYPE_CHECKING:
    from recaster_tui.supervisor import Run

SAVE_SECONDS = 900.0
_ANSWER_SECONDS = 15.0


def answer_timeout(run: "Run", name: str) -> float:
    """How long an answer may take: a trainer reads commands between two iterations, and says that
    it has saved when it has."""
    if name in (CommandName.SAVE, CommandName.BACKUP, CommandName.SNAPSHOT):
        return SAVE_SECONDS
    return max(_ANSWER_SECONDS, 4.0 * run.ms / 1000.0)


def model_bindings(screen: str, *, show: bool = True) -> list[BindingType]:
    """``X``, ``b``, ``v`` and ``V`` of the screen whose keys are called *screen*-….

    With *show* all but ``X`` may stand in the bar below, else only ``V``.
    """
    return [
        Binding("b", "backup", "Backup", show=show, id=f"{screen}-backup",
                tooltip="Save and keep a copy, with a note"),
        Binding("v", "snapshot", "Snapshot", show=show, id=f"{screen}-snapshot",
                tooltip="Keep the model as it is now under a name"),
        Binding("V", "snapshots", "Snapshots", id=f"{screen}-snapshots",
                tooltip="Everything the model can go back to"),
        Binding("X", "stop_unsaved", "Stop without saving", show=False,
                id=f"{screen}-stop-unsaved", tooltip="Asks first; what is not saved is lost"),
    ]  # fmt: skip


class ModelKeys(ModeScreen):
    """Screens say which model is meant, and which run."""

    def kept_model(self) -> Path | None:
        """The folder of the model that the keys are about; None = there is none."""
        raise NotImplementedError

    async def kept_run(self) -> "Run | None":
        """The run that the keys are about. Raises ``RecasterError``."""
        raise NotImplementedError

    def action_stop(self) -> None:
        """Save and end; one that does not react may be ended."""
        self.run_worker(self._stop(save=True), exit_on_error=False)

    def action_stop_unsaved(self) -> None:
        """End without saving; asks first."""
        self.run_worker(self._stop(save=False), exit_on_error=False)

    async def _stop(self, *, save: bool) -> None:
        try:
            run = await self.kept_run()
        except RecasterError as error:
            self.notify(str(error), title="Stop", severity="error", timeout=10)
            return
        if run is None or not run.state.live:
            return
        if save:
            await stopping.stop(self.recaster, run)
        else:
            await stopping.stop_unsaved(self.recaster, run)
        if self.is_current:
            self.tick()

    def action_backup(self) -> None:
        """Save and keep a copy."""
        self.run_worker(self._backup(), exit_on_error=False)

    async def _backup(self) -> None:
        try:
            run = await self.kept_run()
            if run is None or not run.state.live:
                return
            answer = await self.app.push_screen_wait(
                AskWords(
                    "Backup",
                    f"{run.spec.model_name} is saved and copied to its backups. One with a note "
                    "is never thinned out.",
                    [Line("note", "note", "", "none")],
                    done="makes it",
                )
            )
            if answer is None:
                return
            title = run.spec.model_name
            ack = await run.command(CommandName.BACKUP, note=answer["note"], timeout=SAVE_SECONDS)
        except RecasterError as error:
            self.notify(str(error), title="Backup", severity="error", timeout=10)
            return
        if ack.ok:
            text = words.answer(ack.message) or "the backup is made"
            self.notify(text, title=f"Backup of {title}", timeout=5)
        else:
            self.notify(ack.message, title="Backup was refused", severity="error", timeout=10)
        if self.is_current:
            self.tick()

    def action_snapshot(self) -> None:
        """Keep the model as it is now under a name."""
        self.run_worker(self._snapshot(), exit_on_error=False)

    async def _snapshot(self) -> None:
        from recaster_tui.ui.screens.snapshots import ask_snapshot

        folder, supervisor = self.kept_model(), self.recaster.supervisor
        current = snapshot_work.current_generation(folder) if folder is not None else None
        run = snapshot_work.trainer_of(supervisor, folder) if folder is not None else None
        if folder is None or (current is None and run is None):
            self.notify("nothing of this model is saved yet", title="Snapshot", timeout=5)
            return
        at = run.iteration if run is not None else iteration_of(current) if current else 0
        answer = await ask_snapshot(self, folder, at)
        if answer is None:
            return
        self.notify("saving and copying …", title="Snapshot", timeout=60)
        try:
            text = await snapshot_work.keep(supervisor, folder, answer["name"], answer["note"])
        except RecasterError as error:
            self.notify(str(error), title="No snapshot", severity="error", timeout=12)
            return
        self.notify(text, title="Snapshot", timeout=6)
        if self.is_current:
            self.tick()

    def action_snapshots(self) -> None:
        """Everything the model can go back to."""
        self.run_worker(self._snapshots(), exit_on_error=False)

    async def _snapshots(self) -> None:
        from recaster_tui.ui.screens.snapshots import SnapshotsScreen

        folder = self.kept_model()
        if folder is None or not folder.is_dir():
            self.notify("nothing of this model is saved yet", title="Snapshots", timeout=5)
            return
        self.app.push_screen(SnapshotsScreen(folder))
