"""Running the demo's jobs: in this process, or spread over worker processes."""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import IO

import recaster_tui
from recaster_tui.demo.plan import DemoPlan
from recaster_tui.demo.worker import Job
from recaster_tui.errors import EnvironmentProblem, ExitCode, RecasterError

_SINGLE_THREADED = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_Outcome = Job | RecasterError


def default_workers() -> int:
    """One per core that this process may use, at most eight."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        cores = os.cpu_count() or 1
    return min(cores, 8)


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
            process = _start(folder, plan)
            stack.callback(_end, process)
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


def _start(folder: Path, plan: DemoPlan) -> subprocess.Popen[str]:
    environment = dict(os.environ) | dict.fromkeys(_SINGLE_THREADED, "1")
    here = str(Path(recaster_tui.__file__).parent.parent)
    paths = [here, environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(p for p in paths if p)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "recaster_tui.demo.worker", folder, json.dumps(asdict(plan))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
            start_new_session=True,  # ctrl-c is for us; we end the workers
        )
    except OSError as error:
        raise EnvironmentProblem(
            f"cannot start a helper process ({error})", hint="try again with one worker"
        ) from error


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except OSError:  # unsent input of a worker that is gone
                continue


def _drive(
    process: subprocess.Popen[str],
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
    job: Job, stdin: IO[str], stdout: IO[str], process: subprocess.Popen[str], folder: Path
) -> _Outcome:
    try:
        stdin.write(job.line())
        stdin.flush()
        answer = stdout.readline()
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
