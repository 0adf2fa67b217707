"""Processes that are ready at once: a server that has imported everything forks them.

``python -m recaster_tui.bench.faults.forkserver`` reads one JSON request a line from its input and
answers on its output; torch has one thread in it, so that its children begin like any fresh
trainer. Each child gets a session of its own, its output goes to a log.
"""

import asyncio
import contextlib
import json
import os
import select
import signal
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recaster_tui.errors import EnvironmentProblem

_TICK = 0.02


class ForkServer:
    """The caller's side. Use ``async with``; children that still live are killed at the end."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._ends: dict[int, asyncio.Future[int]] = {}

    async def __aenter__(self) -> "ForkServer":
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", __name__),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
        self._reader = asyncio.create_task(self._read())
        answer = await self._answers.get()
        if not answer.get("ready"):
            raise EnvironmentProblem("the fork server did not start", hint="see its error above")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is None or self._reader is None:
            return
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 10)
        except TimeoutError:
            self._process.kill()
        await self._reader

    async def fork(
        self, what: str, arguments: list[str], orders: Mapping[str, Any], log: Path
    ) -> int:
        """Start ``train``, ``watch`` or ``begin`` of :mod:`.victim`; the pid."""
        if self._process is None or self._process.stdin is None:
            raise RuntimeError("the fork server is not running")
        request = {"what": what, "arguments": arguments, "orders": dict(orders), "log": str(log)}
        self._process.stdin.write((json.dumps(request) + "\n").encode())
        await self._process.stdin.drain()
        answer = await self._answers.get()
        if "pid" not in answer:
            raise EnvironmentProblem(f"the fork server failed: {answer.get('problem', 'gone')}")
        return int(answer["pid"])

    async def ended(self, pid: int) -> int:
        """Wait for the end of a child; its wait status as by ``os.waitstatus_to_exitcode``."""
        return await asyncio.shield(self._end(pid))

    def _end(self, pid: int) -> "asyncio.Future[int]":
        if pid not in self._ends:
            self._ends[pid] = asyncio.get_running_loop().create_future()
        return self._ends[pid]

    async def _read(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        while line := await self._process.stdout.readline():
            answer = json.loads(line)
            if "ended" in answer:
                end = self._end(answer["ended"])
                if not end.done():
                    end.set_result(answer["code"])
            else:
                if "pid" in answer:
                    self._ends.pop(answer["pid"], None)  # a pid that is used again
                await self._answers.put(answer)
        await self._answers.put({})


def serve() -> None:
    """The server's side; ends with its input, and takes its children along."""
    _import_all()
    children: set[int] = set()
    _say({"ready": True})
    buffer = b""
    try:
        while True:
            ready, _, _ = select.select([0], [], [], _TICK)
            if ready:
                raw = os.read(0, 1 << 16)
                if not raw:
                    return
                buffer += raw
                while b"\n" in buffer:
                    line, _, buffer = buffer.partition(b"\n")
                    children.add(_fork(json.loads(line)))
            _reap(children)
    finally:
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _import_all() -> None:
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    import recaster_tui.bench.faults.victim
    import recaster_tui.faces.faceset
    import recaster_tui.supervisor
    import recaster_tui.training.data
    import recaster_tui.training.models.saehd
    import recaster_tui.training.process  # noqa: F401
    from recaster_tui.bench.faults.victim import SMALL
    from recaster_tui.options import ModelClass, defaults
    from recaster_tui.training.models import build_model

    # Most of torch is imported when it is first used. With one thread nothing of it outlives this
    # that a fork could break.
    options = defaults(ModelClass.SAEHD).model_copy(update={**SMALL, "resolution": 64})
    build_model(ModelClass.SAEHD, options, torch.device("cpu"), seed=1)


def _say(answer: dict[str, Any]) -> None:
    os.write(1, (json.dumps(answer) + "\n").encode())


def _fork(request: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        _say({"pid": pid})
        return pid
    code = 1
    try:
        os.setsid()
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        null = os.open(os.devnull, os.O_RDONLY)
        for fd, number in ((null, 0), (log, 1), (log, 2)):
            os.dup2(fd, number)
        code = _run(request)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(code)


def _run(request: dict[str, Any]) -> int:
    from recaster_tui.bench.faults import victim

    orders = victim.Orders.of(request["orders"])
    paths = [Path(p) for p in request["arguments"]]
    if request["what"] == "watch":
        return victim.watch(paths[0], paths[1], orders)
    if request["what"] == "begin":
        return victim.begin(paths[0], paths[1], request["arguments"][2], orders)
    os.chdir(paths[0].parent.parent)
    return victim.train(paths[0], orders)


def _reap(children: set[int]) -> None:
    while children:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        children.discard(pid)
        _say({"ended": pid, "code": os.waitstatus_to_exitcode(status)})


if __name__ == "__main__":
    serve()
