"""The live view of one run: everything a screen shows, kept up to date from the run folder."""

import asyncio
import logging
import re
import time
import tomllib
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from recaster_tui.errors import BadInputError, ExitCode, RecasterError
from recaster_tui.files import write_toml
from recaster_tui.protocol import (
    Command,
    CommandName,
    Event,
    EventType,
    Phase,
    RunFolder,
    RunSpec,
    encode_command,
)
from recaster_tui.supervisor.facts import (
    CLOCK_STATES,
    Ack,
    Facts,
    Marker,
    Notice,
    Preview,
    as_float,
    as_int,
)
from recaster_tui.supervisor.journal import JournalReader
from recaster_tui.supervisor.launcher import Launcher, ProcessId
from recaster_tui.supervisor.losses import NO_TREND, LossArray, LossBuffer, Trend, trend
from recaster_tui.supervisor.measures import Measure
from recaster_tui.supervisor.state import (
    FIRST_WORD_SECONDS,
    SILENCE_SECONDS,
    RunState,
    Status,
    advance,
    launched,
)
from recaster_tui.supervisor.verdict import Target, Verdict, verdict

log = logging.getLogger(__name__)

POLL_SECONDS = 0.15
_ALIVE_SECONDS = 1.0
_LOG_TAIL_BYTES = 8_192
_SPEED_ROWS = 200
_VERDICT_SECONDS = 5.0
_TOLD_SECONDS = 5.0
_QUIET_SECONDS = 8.0
_ROOM_SECONDS = 2.0
_QUIET = re.compile(r"[\d:., -]+(INFO|DEBUG) ")
_NO_ROOM = 64 << 10
DISK_FULL = (
    "the disk is full: it trains on in memory, but nothing can be saved or shown; free some space"
)


class NoAnswerError(RecasterError):
    """The trainer did not acknowledge a command in time."""


class NotAskedError(NoAnswerError):
    """The command could not be written down: the disk is full, or may not be written."""

    exit_code = ExitCode.ENVIRONMENT


class Run:
    """One run, dead or alive. Reading never changes anything; :meth:`command` only appends.

    ``version`` grows with every change, so a screen polls it cheaply. Nothing here needs a task:
    :meth:`poll` reads what is new, :meth:`follow` does so until the run is over.
    """

    def __init__(
        self, folder: RunFolder, spec: RunSpec, launcher: Launcher, *, fresh: bool = False
    ) -> None:
        self.folder = folder
        self.spec = spec
        self.version = 0
        self.changed = asyncio.Event()
        self.status: Status = launched(time.time() if fresh else spec.created)
        self.process: ProcessId | None = None
        self.facts = Facts(options=dict(spec.options))
        self._launcher = launcher
        self._journal = JournalReader(launcher, folder.journal)
        self._losses = LossBuffer(launcher, folder.losses)
        self._lock = asyncio.Lock()
        self._process_t = 0.0
        self._spoke: ProcessId | None = None
        self._speaker: ProcessId | None = None
        self._heard = (0.0, 0.0)
        self._told_losses = False
        self._looked = 0.0
        self._full = False
        self._launches = 0
        self._asked = 0.0
        self._alive: bool | None = True
        self._trend: tuple[int, Trend] = (-1, NO_TREND)
        self._verdict: tuple[tuple[int, ...], float, Verdict] | None = None
        self._log_line = ""
        self._last_seq = 0

    # -- identity ---------------------------------------------------------------------------

    @property
    def run_id(self) -> str:
        """The run folder's name."""
        return self.spec.run_id

    @property
    def workspace_root(self) -> Path:
        """The workspace: two folders above the run folder."""
        return self.folder.root.parent.parent

    # -- what a screen shows ----------------------------------------------------------------

    @property
    def state(self) -> RunState:
        """What the run is doing."""
        return self.status.state

    @property
    def message(self) -> str:
        """Why the run failed, was lost or stalls; how it ended otherwise."""
        return self.status.message

    @property
    def error(self) -> str:
        """The message when the run failed, else empty."""
        return self.status.message if self.state is RunState.FAILED else ""

    @property
    def trouble(self) -> str:
        """What threatens a live run and has not passed: saves that fail, a disk that is full."""
        if self.state.over or self.state is RunState.STARTING:
            return ""
        if self._full:
            return DISK_FULL
        problem = self.facts.save_problem
        return problem.partition(" could not be saved: ")[2] or problem

    @property
    def trouble_title(self) -> str:
        """What :attr:`trouble` means, in a few words."""
        if not self.trouble:
            return ""
        saved = self.facts.saved_iteration
        return f"NOT SAVED since {saved:,}" if saved else "NOTHING SAVED"

    @property
    def phase_text(self) -> str:
        """A sentence for the status line; the step's progress while it loads."""
        progress = self.facts.progress
        if self.state is RunState.STARTING and progress is not None:
            text = progress.text or progress.what
            if not progress.total:
                return text
            return f"{text} {progress.current:,}/{progress.total:,} {progress.unit}".rstrip()
        return self.status.message or self.status.text

    @property
    def iteration(self) -> int:
        """The last iteration trained."""
        return self.facts.iteration

    @property
    def losses(self) -> LossArray:
        """The model's whole loss history, rows of ``LOSS_DTYPE``; read-only."""
        return self._losses.rows

    @property
    def loss(self) -> tuple[float, float] | None:
        """Source and destination loss of the last iteration."""
        rows = self._losses.rows
        return (float(rows["src"][-1]), float(rows["dst"][-1])) if len(rows) else None

    @property
    def trend(self) -> Trend:
        """Smoothed losses and their slopes."""
        rows = self._losses.rows
        if self._trend[0] != len(rows):
            self._trend = (len(rows), trend(rows))
        return self._trend[1]

    @property
    def measures(self) -> list[Measure]:
        """What was measured on held-out faces, oldest first; of earlier runs of the model, too."""
        return self.facts.measures

    @property
    def verdict(self) -> Verdict:
        """How the training does; made anew a few times a minute at most."""
        rows, markers = self._losses.rows, self.facts.markers
        state = (len(rows), len(self.facts.measures), len(markers), self.target_iterations)
        now = time.monotonic()
        if self._verdict is not None:
            seen, made, found = self._verdict
            few = seen[0] <= state[0] <= seen[0] + seen[0] // 100
            if state == seen or (few and now - made < _VERDICT_SECONDS):
                return found
        found = verdict(rows, self.facts.measures, markers, Target(self.target_iterations))
        self._verdict = (state, now, found)
        return found

    @property
    def markers(self) -> list[Marker]:
        """Saves, backups, option changes, rollbacks, resumptions, oldest first."""
        return self.facts.markers

    @property
    def previews(self) -> list[Preview]:
        """Oldest first."""
        return self.facts.previews

    @property
    def notices(self) -> list[Notice]:
        """Warnings and errors, oldest first."""
        return self.facts.notices

    @property
    def device(self) -> dict[str, Any]:
        """``kind``, ``name`` and perhaps ``memory`` (bytes); empty before the trainer spoke."""
        return self.facts.device

    @property
    def metrics(self) -> dict[str, Any]:
        """The newest slow signals: cpu, ram, gpu, vram, learning_rate …"""
        return self.facts.metrics

    @property
    def options(self) -> dict[str, Any]:
        """Every option by key, live changes included."""
        return self.facts.options

    @property
    def batch_found(self) -> int:
        """The number in use for an automatic batch size; 0 = it has a number, or none was found."""
        return self.facts.batch_found if self.options.get("batch_size") == "auto" else 0

    @property
    def its(self) -> float:
        """Iterations a second, newest measure."""
        return self.facts.its

    @property
    def ms(self) -> float:
        """Milliseconds an iteration, newest measure."""
        return self.facts.ms

    @property
    def data_share(self) -> float:
        """0..1, part of the step spent waiting for data."""
        return self.facts.data_share

    @property
    def journal_bytes(self) -> int:
        """How much of the journal was taken in."""
        return self._journal.offset

    @property
    def target_iterations(self) -> int:
        """Where training ends; 0 = nowhere. Follows a live change."""
        changed = self.facts.options.get("target_iterations")
        if isinstance(changed, int) and changed != self.spec.options.get("target_iterations"):
            return changed
        return self.spec.target_iterations

    @property
    def elapsed_seconds(self) -> float:
        """Seconds spent training in this run, pauses and loading left out."""
        facts = self.facts
        if facts.told_seconds is not None:
            told = facts.told_before + facts.told_seconds
            if self.state not in CLOCK_STATES:
                return told
            # A trainer speaks all the time: more than this is a clock that was set.
            return told + min(max(0.0, time.time() - facts.told_at), _TOLD_SECONDS)
        if facts.clock_since is None:
            return facts.trained_seconds
        until = time.time() if self.state in CLOCK_STATES else facts.last_t
        return facts.trained_seconds + max(0.0, until - facts.clock_since)

    @property
    def eta_seconds(self) -> float | None:
        """Seconds to the target by the median speed of late; None without target or speed."""
        waits: list[float] = []
        remaining = self.target_iterations - self.iteration
        recent = self._losses.rows["ms"][-_SPEED_ROWS:]
        if self.target_iterations and len(recent):
            waits.append(max(0, remaining) * float(np.median(recent)) / 1000.0)
        if self.spec.target_seconds:
            waits.append(max(0.0, self.spec.target_seconds - self.elapsed_seconds))
        return min(waits) if waits else None

    # -- following --------------------------------------------------------------------------

    async def poll(self) -> bool:
        """Read everything new; whether anything changed."""
        async with self._lock:
            return await self._poll()

    async def follow(self, interval: float = POLL_SECONDS) -> None:
        """Poll until the run is over. Cancelling it leaves the trainer alone."""
        while True:
            await self.poll()
            if self.state.over:
                return
            await asyncio.sleep(interval)

    async def wait_change(self, version: int) -> int:
        """Wait until ``version`` is beyond the given one (somebody must be following)."""
        while self.version <= version:
            await self.changed.wait()
        return self.version

    async def command(self, name: str, *, timeout: float = 15.0, **args: Any) -> Ack:
        """Ask the trainer for something and wait for its answer.

        Args:
            name: a :class:`CommandName`.
            timeout: seconds to wait for the acknowledgement; 0 does not wait.
            args: of the command: ``save`` for stop, ``note`` for backup, ``key``/``value`` for set.

        Raises:
            BadInputError: the run is over, there is nobody to ask.
            NoAnswerError: no answer in time, or the run ended first.
            NotAskedError: its folder takes no command.
        """
        state = self.state
        if state.over:
            raise BadInputError(
                f"run {self.run_id} is not running: it is {state.value}",
                hint="start it again with: recaster resume " + self.run_id,
            )
        command = Command(uuid.uuid4().hex[:12], str(name), args)
        try:
            await self._launcher.append(self.folder.control, encode_command(command))
        except OSError as error:
            raise NotAskedError(
                f"the trainer cannot be asked: {error.strerror or error}",
                where=self.folder.control,
                hint="free some space, or check the rights of the run folder",
            ) from error
        deadline = time.monotonic() + timeout
        while True:
            await self.poll()
            if (ack := self.facts.acks.get(command.id)) is not None:
                return ack
            if self.state.over and name == CommandName.STOP:
                return Ack(command.id, True, "the run has ended")
            if self.state.over:
                raise NoAnswerError(f"the run ended ({self.state.value}) before it answered")
            if time.monotonic() >= deadline:
                if timeout == 0:
                    return Ack(command.id, True, "sent")
                raise NoAnswerError(
                    f"the trainer did not answer '{name}' within {timeout:.0f} s",
                    where=self.folder.root,
                    hint="it does what was asked as soon as it reads it; its state is "
                    + self.state.value,
                )
            await asyncio.sleep(0.05)

    async def signal(self, number: int) -> bool:
        """Send a signal to the trainer; False where its process is gone. See :class:`Launcher`."""
        return self.process is not None and await self._launcher.signal(self.process, number)

    async def process_alive(self) -> bool | None:
        """Whether the trainer's process exists; None where nobody can tell."""
        if self.process is None and (launch := await self._last_launch()):
            self.process, self._process_t = launch
        if self.process is None:
            return None
        return await self._launcher.alive(self.process, self.run_id)

    def relaunched(self, process: ProcessId) -> None:
        """Its trainer was started (again): what the old one said last does not count."""
        self._launches += 1
        self.process = process
        self._process_t = time.time()
        self._alive = True
        self._asked = time.monotonic()
        self._log_line = ""
        self.status, self._spoke = launched(time.time()), None
        self._touch()

    async def check_relaunch(self) -> bool:
        """Whether somebody else has started the trainer of this ended run again."""
        if not self.state.over or not await self._newer_process():
            return False
        self.status, self._spoke = launched(time.time()), None
        self._touch()
        return True

    # -- inside -----------------------------------------------------------------------------

    async def _poll(self) -> bool:
        before, launches = self.version, self._launches
        alive = await self._ask_alive()
        try:
            while await self._read_chunk():
                # A long journal must not freeze the screen that waits for it.
                await asyncio.sleep(0)
        except FileNotFoundError:
            if not await self._folder_there():
                alive = None
        except OSError as error:
            log.debug("cannot read %s: %s", self.folder.journal, error)
            alive = None
        # Only now do we know whom to ask about: who spoke may not be who was launched last.
        again = self._asked == 0.0 or (alive is False and self._process_spoke() is not True)
        if again and alive is not None and self.process is not None:
            self._asked = 0.0
            alive = await self._ask_alive()
        older = self._process_spoke() is False and self.status.said is not RunState.STARTING
        if alive and older:
            self.status, self._spoke = launched(time.time()), None  # what comes now is new
        status = advance(self.status, None, self.status.heard + self._silence(), alive)
        status = await self._look_at_disk(status)
        if status.state is RunState.FAILED and alive is False and not status.said.over:
            status = await self._post_mortem(status)
        if self._launches != launches:
            return True  # meanwhile it was started again: this judges the one before
        if status != self.status:
            self.facts.clock(status.state, self.facts.last_t)
            self.status = status
            self._touch()
        return self.version != before

    async def _read_chunk(self) -> bool:
        chunk = await self._journal.read()
        if chunk.restarted:
            self.facts = Facts(options=dict(self.spec.options))
            self.status = launched(self.spec.created)
            self._last_seq = 0
            self._losses.clear()
        for event in chunk.events:
            if event.type in (EventType.HELLO, EventType.ROLLED_BACK, EventType.RESTORED):
                self._losses.clear()
            self._apply(event)
        for first, last in chunk.gaps:
            self.facts.note("error", "journal-gap", f"journal lines {first} to {last} are missing")
        if chunk.damaged:
            self.facts.note("error", "journal-damaged", f"{chunk.damaged} unreadable journal lines")
        if not chunk.more and (chunk.events or not self._losses.rows.size):
            await self._losses.read()
            if self._losses.damaged and self.status.said.over and not self._told_losses:
                self._told_losses = True
                text = "losses.bin is damaged: the chart ends at the last iteration that is whole"
                self.facts.note("warning", "losses-damaged", text)
        if chunk.events or chunk.restarted or chunk.gaps or chunk.damaged:
            self._touch()
        return chunk.more

    def _apply(self, event: Event) -> None:
        try:
            self.facts.apply(event, self.folder.root)
        except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
            self.facts.note("error", "journal-damaged", f"journal line {event.seq}: {error}")
        if event.type == EventType.HELLO:
            self._hear_of_process(event)
        begins = event.type == EventType.PHASE and event.data.get("phase") == Phase.BUILDING
        if begins and self.status.said is not RunState.STARTING:
            self._spoke = None  # another start; it may fail before its hello
        self.status = advance(self.status, event, event.t)
        facts = self.facts
        if event.seq == self._last_seq + 1 and event.t - facts.last_t > SILENCE_SECONDS:
            # A trainer that lives says so every 5 s: it was killed, stopped or asleep. (Lines
            # that were skipped lie between others; only neighbours prove a silence.)
            facts.silent()
        facts.clock(self.status.said, event.t)
        facts.last_t, self._last_seq = event.t, event.seq

    def _hear_of_process(self, event: Event) -> None:
        data = event.data
        if 0 < as_int(data.get("pid")) < 2**31:
            said = ProcessId(
                as_int(data["pid"]), as_float(data.get("started")), str(data.get("host") or "")
            )
            self._spoke = self._speaker = said
            # Words of the one before are no news once another was launched.
            if self.process is None or self.process.pid == said.pid or event.t > self._process_t:
                self.process, self._process_t, self._asked = said, event.t, 0.0

    def _process_spoke(self) -> bool | None:
        """Whether the last hello is of the process that was launched last; None: nobody knows."""
        if self._spoke is None or self.process is None:
            return None
        return self._spoke.pid == self.process.pid

    def _silence(self) -> float:
        """Seconds since the trainer's last word, by a clock that nobody sets.

        Only of words that were there before we looked, the time of day must tell how old they are.
        """
        now, heard = time.monotonic(), self.status.heard
        if self._heard[0] != heard:
            first = self._heard == (0.0, 0.0)
            self._heard = (heard, now - (max(0.0, time.time() - heard) if first else 0.0))
        return now - self._heard[1]

    async def _ask_alive(self) -> bool | None:
        if self.status.said.over:
            return False
        if time.monotonic() - self._asked >= _ALIVE_SECONDS:
            self._asked = time.monotonic()
            if self.process is None and (launch := await self._last_launch()):
                self.process, self._process_t = launch
            if self.process is not None:
                launches = self._launches
                answer = await self._launcher.alive(self.process, self.run_id)
                if self._launches != launches:
                    return True  # meanwhile another was started
                self._alive = answer
                if self._alive is False and not await self._newer_process():
                    await self._back_to_speaker()
            else:
                # Started by hand: its pid comes with its hello, which may take a while.
                self._alive = self._silence() < FIRST_WORD_SECONDS
        return self._alive

    async def _back_to_speaker(self) -> None:
        """Two were started at once: the one launched last was refused, the other trains."""
        spoke = self._speaker
        if spoke is None or self.process is None or spoke.pid == self.process.pid:
            return
        if await self._launcher.alive(spoke, self.run_id):
            self.process, self._alive = spoke, True

    async def _last_launch(self) -> tuple[ProcessId, float] | None:
        """Whom a supervisor started last on this folder, and when."""
        try:
            raw = await self._launcher.read(self.folder.process, 0, _LOG_TAIL_BYTES)
            return parse_process(raw)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    async def _newer_process(self) -> bool:
        """Go over to the process that was launched last, where it is another one and lives."""
        launch = await self._last_launch()
        if launch is None:
            return False
        found, at = launch
        # Not by comparing times: a clock may have been set between the two.
        same = self.process is not None and self.process.pid == found.pid
        if same or not await self._launcher.alive(found, self.run_id):
            return False
        self.process, self._process_t = found, at
        self._alive, self._asked, self._log_line = True, time.monotonic(), ""
        return True

    async def _look_at_disk(self, status: Status) -> Status:
        """A trainer that is silent because the disk takes none of its words trains on."""
        if not status.said.live or self._silence() < _QUIET_SECONDS:
            self._full = False
        elif time.monotonic() - self._looked >= _ROOM_SECONDS:
            self._looked = time.monotonic()
            room = await self._launcher.room(self.folder.root)
            self._full = room is not None and room < _NO_ROOM
        if not self._full or status.state not in (status.said, RunState.STALLED):
            return status
        return replace(status, state=status.said, message=DISK_FULL)

    async def _folder_there(self) -> bool:
        try:
            await self._launcher.read(self.folder.spec, 0, 1)
        except OSError:
            return False
        return True

    async def _post_mortem(self, status: Status) -> Status:
        """Say more about a process that vanished: how it ended, what it printed last."""
        if not self._log_line:
            note = self._launcher.exit_note(self.process) if self.process else ""
            try:
                tail = await self._launcher.read(self.folder.log, -_LOG_TAIL_BYTES, _LOG_TAIL_BYTES)
            except OSError:
                tail = b""
            lines = [line.strip() for line in tail.decode(errors="replace").splitlines()]
            # What it was doing, quietly, is no reason; it may even be of an earlier start.
            last = next((x for x in reversed(lines) if x and not _QUIET.match(x)), "")
            self._log_line = " ".join(
                part
                for part in (
                    f"{note} without a last word" if note else "",
                    f"(its last line: {last[:300]})" if last else "",
                )
                if part
            )
        room = await self._launcher.room(self.folder.root)
        if room is not None and room < _NO_ROOM:
            return replace(status, message=f"{status.message}: the disk is full, free some space")
        if not self._log_line:
            return status
        # What ended it comes first: a narrow screen shows no more than that.
        known = status.error or self._log_line.startswith("(")
        message = f"{status.message} {self._log_line}" if known else self._log_line
        return replace(status, message=message)

    def _touch(self) -> None:
        self.version += 1
        self.changed.set()
        self.changed.clear()


def write_process(folder: RunFolder, process: ProcessId) -> None:
    """Remember who was started, for the time before its first word (and for other watchers)."""
    write_toml(
        folder.process,
        {
            "pid": process.pid,
            "started": process.started,
            "host": process.host,
            "launched": time.time(),
        },
    )


def parse_process(raw: bytes) -> tuple[ProcessId, float]:
    """Content of process.toml: who, and when it was launched (unix seconds).

    Raises ``ValueError``, ``KeyError``, ``TypeError`` where it is something else.
    """
    try:
        table = tomllib.loads(raw.decode())
        who = ProcessId(int(table["pid"]), float(table["started"]), str(table["host"]))
        launched_at = float(table["launched"])
    except (OverflowError, RecursionError) as error:
        raise ValueError("not the description of a process") from error
    if not (0 < who.pid < 2**31 and 0 <= who.started < 1e15 and 0 <= launched_at < 1e15):
        raise ValueError("a process that cannot be")
    return who, launched_at
