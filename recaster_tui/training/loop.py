"""The training loop: step, tell, obey, save, show. :meth:`Trainer.run` is the whole of it."""

import contextlib
import logging
from collections.abc import Callable
from typing import Any

from recaster_tui.checkpoints.snapshots import check_name
from recaster_tui.errors import RecasterError
from recaster_tui.options import AUTO, TrainingOptions, changed, live_problem, spec_map
from recaster_tui.protocol import EventType, Outcome, Phase
from recaster_tui.training.backups import BackupTimer
from recaster_tui.training.clock import running
from recaster_tui.training.commands import obey
from recaster_tui.training.failures import (
    BadOptionsError,
    NonFiniteError,
    StopRequested,
    TornUpdateError,
)
from recaster_tui.training.feed import MOST_PIECES, Feed
from recaster_tui.training.guards import Trouble
from recaster_tui.training.last_save import save_last
from recaster_tui.training.measuring import judged_each_step
from recaster_tui.training.meter import Meter
from recaster_tui.training.parts import (
    LOOP_OPTIONS,
    Parts,
    save_failed,
    state_of,
    target_of,
    tell_pieces,
)
from recaster_tui.training.previews import Previews
from recaster_tui.training.rollback import Rollbacks, half_rate, load_older
from recaster_tui.training.saver import SaveOutcome
from recaster_tui.training.watch import Watch, tell_never_drew

log = logging.getLogger(__name__)

POLL_SECONDS = 0.1


class Trainer:
    """One model in training. Built and ended by :mod:`recaster_tui.training.process`.

    Attributes:
        iteration: the last iteration trained.
        options: as they are now, live changes included.
        model: what is trained.
    """

    def __init__(self, parts: Parts, *, iteration: int, trained_seconds: float = 0.0) -> None:
        self.iteration, self._parts = iteration, parts
        self.options: TrainingOptions = parts.session.options
        self._session, self.model, self._data = parts.session, parts.model, parts.data
        self._journal, self._desk, self._stop = parts.journal, parts.desk, parts.stop
        self._history, self._saver, self._auto = parts.history, parts.saver, parts.batch
        self._live = dict(parts.session.live)
        self._saved_live = dict(self._live)
        self._target = target_of(parts.session)
        self._trained_before, self._trained = trained_seconds, 0.0
        self._meter = Meter()
        self._feed = Feed(self.model, self._data, self._tell_pieces)
        self.watch = Watch(
            self.options,
            self.model,
            self._data.preview_batch,
            iteration=iteration,
            drawn=parts.drawn,
        )
        self._rollbacks = Rollbacks()
        self._paused = False
        self._stopping: str | None = None
        self._save_at_end = True
        self._ending = False
        self._previews = Previews(parts.session.folder, parts.journal)
        self._measures = parts.measures
        self._trained_from = iteration
        self._backups = BackupTimer(parts.session.model_folder)

    # -- the loop ---------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Train until the target, a stop, or a failure (an exception)."""
        self._say(*self._base())
        self._measures.tell()
        self.preview()
        while not self._ended():
            self._serve()
            if self._paused or self._stopping is not None:
                continue
            if self._auto.wanted:
                self._find_batch()
                continue
            self.iterate()
            if self._meter.due:
                self._tell()
            self._keep()
        return self._finish()

    def iterate(self) -> None:
        """Train one iteration."""
        begun = running()
        worst = self.options.retrain_worst
        batch = self._feed.next(retrain_worst=worst)
        fetched = running()
        pieces = self.model.pieces
        try:
            result = self.model.train_step(batch)
        except TornUpdateError as error:
            if pieces >= MOST_PIECES:
                raise
            self._tell()
            self.model.pieces = 2 * pieces  # the update itself needs less beside smaller pieces
            self._tell_pieces()
            message = "memory ran out while the weights were changed"
            self._roll_back(Trouble("oom", self.iteration + 1, message, error))
            return
        if self.model.pieces != pieces:
            self._tell_pieces()
        self.iteration += 1
        self._meter.add(self.iteration, result, fetched - begun)
        if self._feed.chosen:
            self.watch.losses.leave_out(self.iteration)
        self._feed.trained(batch, result, retrain_worst=worst)
        self._trained += running() - begun

    def _find_batch(self) -> None:
        """Find the number for a batch size that became automatic; a stop comes first."""

        def check() -> None:
            self._desk.poll()
            if self._desk.stop_waits or self._stop.event.is_set():
                raise StopRequested

        with contextlib.suppress(StopRequested):
            self._auto.find(
                self.model, self._data, self.options, check=check, iteration=self.iteration
            )
        self._say(*self._base())
        self._meter.restart()

    def _tell_pieces(self) -> None:
        tell_pieces(self._journal, self.iteration + 1, self.model.pieces)

    def _ended(self) -> bool:
        if self._stop.event.is_set():
            self._stopping = self._stopping or self._stop.reason
        if self._stopping is None and self._reached() is not None:
            self._tell()  # which may find that the last iterations were no good, and go back
        return self._stopping is not None or self._reached() is not None

    def _reached(self) -> str | None:
        if self._paused:
            return None
        if 0 < self._target <= self.iteration:
            return f"reached iteration {self._target}"
        seconds = self._session.spec.target_seconds
        return f"trained for {seconds:g} s" if 0 < seconds <= self._trained else None

    def _finish(self) -> Outcome:
        self._ending = True
        outcome = Outcome.FINISHED if self._stopping is None else Outcome.STOPPED
        message = self._stopping or self._reached() or ""
        self._say(Phase.STOPPING, message)
        self._tell()
        self._history.catch_up()
        if outcome is Outcome.FINISHED and self._measures.worth_a_last_one():
            self._measure()  # before the save, which remembers it
        self._saver.wait()
        if self._save_at_end and self._unsaved():
            self._saver.last = True
            error = save_last(
                self._save_and_wait,
                self._session.model_folder,
                self._desk,
                lambda text: self._say(Phase.SAVING, text),
            )
            if error is not None:
                raise save_failed(error, self._saver.saved)
            if self._saver.error is not None:  # a stop without saving came meanwhile
                outcome, message = Outcome.STOPPED, "stopped by the user"
        if outcome is Outcome.FINISHED and self._previews.shown != self.iteration:
            self.preview()
        self.watch.tell(self._trained)
        self._desk.close("the run has ended")
        self._journal.emit(
            EventType.DONE,
            outcome=outcome.value,
            iteration=self.iteration,
            saved=self._saver.saved,
            message=message,
        )
        return outcome

    # -- telling ----------------------------------------------------------------------------

    def _say(self, phase: Phase, text: str) -> None:
        self._journal.emit(EventType.PHASE, phase=phase.value, text=text)

    def _base(self) -> tuple[Phase, str]:
        if self._paused:
            return Phase.PAUSED, f"paused at iteration {self.iteration}"
        return Phase.TRAINING, f"training from iteration {self.iteration}"

    def _tell(self) -> None:
        """Read the losses since the last time, write them down, and look whether all is well."""
        flushed = self._meter.flush()
        if flushed is None:
            return
        # The file first: who reads the event finds the rows.
        self._history.append(flushed.rows)
        self._journal.emit(
            EventType.ITERATIONS,
            **flushed.event(),
            trained=round(self._trained, 2),
        )
        trouble = self.watch.judge_losses(flushed.rows)
        if flushed.non_finite is not None:
            trouble = Trouble("nan", flushed.non_finite, "the loss became NaN or infinite")
        if trouble is not None:
            self._roll_back(trouble)

    def figures(self) -> dict[str, Any]:
        """The ``metrics`` that only the loop knows."""
        rate = getattr(self.options, "learning_rate", None)
        return {"learning_rate": rate} if rate is not None else {}

    # -- obeying: the verbs of the control file ---------------------------------------------

    def _serve(self) -> None:
        """Do what was asked; while paused, wait a little for more."""
        self._desk.poll()
        while (request := self._desk.next()) is not None:
            obey(self, self._desk, request)
        if self._paused and self._stopping is None:
            self._keep()
            self._stop.event.wait(POLL_SECONDS)
            self._meter.restart()

    def pause(self) -> None:
        """Stop stepping; what is not saved yet is saved."""
        if self._paused:
            return
        self._tell()
        self._paused = True
        self._say(*self._base())
        if self._unsaved():
            self.save()

    def resume(self) -> bool:
        """Step again; False when it was not paused."""
        was, self._paused = self._paused, False
        if was:
            self._say(*self._base())
        return was

    def stop(self, *, save: bool) -> None:
        """End after this iteration."""
        self._save_at_end = save
        self._stopping = "stopped by the user"

    def change(self, key: str, value: Any) -> Any:
        """Change a live option from the next iteration on; returns the value it took.

        Raises:
            BadOptionsError: there is no such option, it is not live, or the value is no good.
        """
        problem = live_problem(self.options, key, value)
        if problem is None and key not in spec_map(self._session.model_class):
            problem = f"{key} is DeepFaceLab's name: use ours"
        if problem is not None:
            raise BadOptionsError(problem)
        self._tell()
        self.options = changed(self.options, {key: value})
        value = getattr(self.options, key)
        automatic = key == "batch_size" and value == AUTO
        number = self._auto.change(self.options) if key == "batch_size" else None
        if key == "target_iterations":
            self._target = int(value)
        elif key not in LOOP_OPTIONS and not automatic:
            needs = self.model.needs
            self.model.set_option(key, value)
            if self.model.needs != needs:
                self._data.set_needs(self.model.needs)
        self._live[key] = value
        self.watch.configure(self.options, key)
        self._feed.clear()
        self._journal.emit(EventType.OPTION, key=key, value=value, iteration=self.iteration)
        if automatic and number is not None:  # else the loop has it found before the next iteration
            self._auto.use(number, self.model, self._data, self.iteration, why="remembered")
        return value

    # -- saving and showing -----------------------------------------------------------------

    def _keep(self) -> None:
        """Look at, save, show and measure what is due."""
        self._look()
        first = self._saver.saved is None and self.iteration == 1 and not self._saver.busy
        due = first or self._saver.due(self.options.autosave_seconds)
        if due:
            self._tell()  # what may be bad is not saved by itself: the guards decide first
            self._heed_failed_save()
        if due and self._look(saving=True) and not self.watch.suspicious:
            hours = self.options.backup_hours
            if self._backups.due(hours, self.iteration):
                self.save(None, self._backups.begin(hours, self.iteration), note="")
            elif self._unsaved():
                self.save()
        if not self._paused and self._previews.due(self.options.preview_seconds):
            self.preview()
        if not self._paused and self._measuring_due():
            self._measure()

    def _look(self, *, saving: bool = False) -> bool:
        """Whether what the model draws is all right, as far as that is known; else it goes back."""
        if self._paused:
            return True
        trouble = self.watch.judge_pictures(self.iteration, saving=saving)
        tell_never_drew(self._journal, self.watch.pictures)
        if trouble is None:
            return True
        at = self.iteration
        self._tell()
        if self.iteration == at:  # nothing else was found meanwhile
            self._roll_back(trouble)
        return False

    def _measuring_due(self) -> bool:
        step = self._trained / max(1, self.iteration - self._trained_from)
        seconds = self.options.held_out_seconds
        return self._measures.due(seconds, step, judged_each_step(self.model))

    def _measure(self) -> None:
        """Look how the model does on faces that it has never trained on."""
        self._tell()
        self._measures.measure(self.model, self.iteration)
        self._meter.restart()

    def _unsaved(self) -> bool:
        if self.iteration == 0:
            return False
        return self.iteration != self._saver.saved or self._live != self._saved_live

    def _save_and_wait(self) -> Exception | None:
        self.save(f"saving iteration {self.iteration}")
        self._saver.wait()
        return self._saver.error

    def _heed_failed_save(self) -> None:
        """Go back where a model could not be saved for the NaN in it, and no loss has shown it."""
        error = self._saver.error
        if self._paused or not isinstance(error, NonFiniteError):
            return
        onset = (self._saver.saved or 0) + 1  # what was saved had none
        self._roll_back(Trouble("nan", onset, error.message))

    def save(
        self,
        text: str | None = None,
        *done: Callable[[SaveOutcome], None],
        note: str | None = None,
        snapshot: str | None = None,
    ) -> None:
        """Copy the model now and write it in the background.

        Args:
            text: makes it a phase of its own, for a save that somebody waits for.
            done: called when it is written, or was given up (then a warning is in the journal).
            note: write a backup, too; may be empty.
            snapshot: write a named snapshot with that note instead of a backup.
        """
        self._tell()  # a generation holds every loss up to its iteration, and none is NaN
        if self.iteration == 0:
            raise RecasterError("nothing is trained yet")
        if snapshot is not None:
            check_name(self._session.model_folder, snapshot)
        if text:
            self._say(Phase.SAVING, text)
        copied = self._saver.copy(
            self.model.state(),
            iteration=self.iteration,
            state=state_of(
                self._parts,
                self.options,
                live=self._live,
                trained_seconds=self._trained_before + self._trained,
                drawn=self.watch.drawn,
            ),
            losses=self._history.rows,
        )
        self._saved_live = dict(self._live)

        def over(_: SaveOutcome) -> None:
            if text and not self._ending:
                self._say(*self._base())

        kept = self.options.backups_kept
        self._saver.start(
            copied,
            *done,
            over,
            backup_note=note,
            backups_kept=kept,
            snapshot_name=snapshot,
            judged=self.watch.judged,
        )

    def preview(self) -> bool:
        """Show what the model can do now; False (and a warning) when it cannot be written."""
        self._tell()
        shown = self._previews.show(self.model, self._data, self.iteration, self.options)
        self._meter.restart()
        return shown

    # -- when it goes wrong -----------------------------------------------------------------

    def _roll_back(self, trouble: Trouble) -> None:
        """Go back to the last good save before *trouble*, and on with half the learning rate.

        Where the trouble has a cause that is no fault of the training, with the same rate.

        Raises:
            NonFiniteError: it went back too often already, or there is nothing to go back to.
        """
        self._saver.wait()
        self._saver.error = None
        self._rollbacks.check(trouble, self.options.guard_rollbacks)
        pictures, rows = self.watch.pictures, self._history.rows
        loaded = load_older(self._session, self.model, self._journal, pictures, trouble, rows)
        left, self.iteration = self.iteration, loaded.generation.iteration
        self._saver.saved = self.iteration
        self._history.cut(self.iteration)
        self._measures.cut(self.iteration)
        self._feed.restart()
        rate = None
        if trouble.cause is None:
            self._rollbacks.went_to.append(self.iteration)
            rate = half_rate(self.options, self.model)
        self._journal.emit(
            EventType.ROLLED_BACK,
            from_iteration=left,
            to_iteration=self.iteration,
            why=trouble.why,
            onset=trouble.onset,
            message=trouble.message,
            learning_rate=rate,
            save=loaded.generation.path.relative_to(self._session.model_folder).as_posix(),
        )
        if rate is not None and hasattr(self.options, "learning_rate"):
            self.change("learning_rate", rate)
        self.watch.back(self.iteration)
        if loaded.generation.path.parent.name != "generations":
            self.save()  # a backup: what is current on disk is still what went wrong
        self._meter.restart()
