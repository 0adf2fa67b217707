"""Running the demo's jobs: in this process, or spread over worker processes."""

import json
import queue
import subprocess
import threading
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import IO

from recaster_tui.demo.plan import DemoPlan
from recaster_tui.demo.worker import Job
from recaster_tui.errors import EnvironmentProblem, ExitCode, RecasterError
from recaster_tui.helpers import end_helper, start_helper

_Outcome = Job | RecasterError


def run_jobs(folder: Path, plan: DemoPlan, jobs: list[Job], workers: int) -> Generator[Job]:
    """Do all *jobs*, yielding each when it is done. Closing the iterator stops the workers.

    Raises:
        RecasterError: a job failed; the others are given up, what is written stays.
    """
    workers = min(workers, len(jobs))
    if workers <= 1:
        for job in jobs:
            try:
                job.run(folder, plan)
            except OSError as error:
                raise _disk_problem(folder, str(error)) from error
            yield job
        return
    # Each worker starts at its own side's jobs: baking a person costs it half a second.
    waiting = _Waiting(jobs)
    outcomes: queue.SimpleQueue[_Outcome] = queue.SimpleQueue()
    with ExitStack() as stack:
        for number in range(workers):
            process = start_helper(
                "recaster_tui.demo.worker",
                folder,
                json.dumps(asdict(plan)),
                hint="try again with one worker",
            )
            stack.callback(end_helper, process)
            threading.Thread(
                target=_drive,
                args=(process, waiting, number, outcomes, folder),
                name=f"demo worker {number}",
                daemon=True,
            ).start()
        for _ in jobs:
            outcome = outcomes.get()
            if isinstance(outcome, RecasterError):
                raise outcome
            yield outcome


class _Waiting:
    """Jobs not yet given out; worker k prefers the k-th side of those there are."""

    def __init__(self, jobs: list[Job]) -> None:
        self._sides = {job.side: [j for j in reversed(jobs) if j.side == job.side] for job in jobs}
        self._lock = threading.Lock()

    def take(self, worker: int) -> Job | None:
        sides = list(self._sides.values())
        start = worker % len(sides)
        with self._lock:
            for side in sides[start:] + sides[:start]:
                if side:
                    return side.pop()
        return None


def _drive(
    process: subprocess.Popen[bytes],
    waiting: _Waiting,
    number: int,
    outcomes: "queue.SimpleQueue[_Outcome]",
    folder: Path,
) -> None:
    """Feed one worker, a job at a time, until nothing waits or it fails."""
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None and stdout is not None
    while (job := waiting.take(number)) is not None:
        outcome = _ask(job, stdin, stdout, process, folder)
        outcomes.put(outcome)
        if isinstance(outcome, RecasterError):
            return


def _ask(
    job: Job, stdin: IO[bytes], stdout: IO[bytes], process: subprocess.Popen[bytes], folder: Path
) -> _Outcome:
    try:
        stdin.write(job.line().encode())
        stdin.flush()
        answer = stdout.readline().decode()
    except (OSError, ValueError):  # the pipe broke, or _end closed it
        answer = ""
    if answer == "ok\n":
        return job
    if not answer:
        return EnvironmentProblem(
            f"a helper process ended early (code {process.wait()})",
            where=folder,
            hint="is memory short? Run the same command again: it goes on where it stopped",
        )
    told = json.loads(answer)
    if told.get("os_error"):
        return _disk_problem(folder, told["message"])
    problem = RecasterError(told["message"], where=told["where"], hint=told["hint"])
    problem.exit_code = ExitCode(told["exit_code"])
    return problem


def _disk_problem(folder: Path, message: str) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"cannot write the demo ({message})",
        where=folder,
        hint="free space or pick another folder; the same command goes on where it stopped",
    )
