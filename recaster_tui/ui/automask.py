"""Automatic masks: the client of ``recaster faces mask --serve``, a process of its own.

One JSON object a line, both ways; torch and the network live in that process, which starts with
the first wish and ends when its input does: with the app, whatever becomes of that.
"""

import asyncio
import contextlib
import json
import logging
import os
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recaster_tui.errors import EnvironmentProblem, RecasterError
from recaster_tui.faces.face import FaceFileError, Polygon
from recaster_tui.faces.metadata import parse_polygons

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "recaster_tui", "faces", "mask", "--serve")
_LONGEST_LINE = 1 << 22
_END_WITHIN = 2.0
_HINT = "recaster doctor tells what is missing on this machine"


class AutoMask:
    """Asks for masks; any number of wishes may be open."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        self._command = tuple(command)
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._open: dict[int, asyncio.Future[list[Polygon]]] = {}
        self._last_words: deque[str] = deque(maxlen=8)
        self._next = 1
        self._starting = asyncio.Lock()

    @property
    def running(self) -> bool:
        """Whether its process is there; the first wish takes longer."""
        return self._process is not None and self._process.returncode is None

    async def polygons(self, face: Path) -> list[Polygon]:
        """Outlines that the network proposes for a face's file.

        Raises:
            EnvironmentProblem: there is no automatic mask on this machine, or it died.
            RecasterError: it cannot do this face; says why.
        """
        async with self._starting:
            if not self.running:
                await self._start()
        process = self._process
        assert process is not None and process.stdin is not None
        number, self._next = self._next, self._next + 1
        answer: asyncio.Future[list[Polygon]] = asyncio.get_running_loop().create_future()
        self._open[number] = answer
        try:
            line = json.dumps({"id": number, "face": str(face)}) + "\n"
            process.stdin.write(line.encode("utf-8", "surrogateescape"))
            await process.stdin.drain()
            return await answer
        except (OSError, RuntimeError) as error:  # the pipe broke: say why it ended
            await process.wait()
            raise self._ended() from error
        finally:
            self._open.pop(number, None)

    async def aclose(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            if process.stdin is not None:
                process.stdin.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _END_WITHIN)
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()

    async def _start(self) -> None:
        self._last_words.clear()
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,  # a ctrl+c in the terminal is not meant for it
                env=environment,
                limit=_LONGEST_LINE,
            )
        except OSError as error:
            raise EnvironmentProblem(
                f"the automatic mask cannot be started: {error.strerror or error}", hint=_HINT
            ) from error
        self._process = process
        self._tasks = [
            asyncio.create_task(self._read(process)),
            asyncio.create_task(self._listen(process)),
        ]

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        try:
            while line := await process.stdout.readline():
                self._take(line)
        except (OSError, ValueError) as error:  # a line without end
            log.warning("automatic mask: %s", error)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await process.wait()
        await asyncio.sleep(0)  # let its last words arrive
        for answer in list(self._open.values()):
            if not answer.done():
                answer.set_exception(self._ended())

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        with contextlib.suppress(OSError, ValueError):
            while line := await process.stderr.readline():
                text = line.decode("utf-8", "replace").strip()
                if text:
                    self._last_words.append(text)
                    log.info("automatic mask: %s", text)

    def _take(self, line: bytes) -> None:
        try:
            reply: Any = json.loads(line)
        except ValueError:
            reply = None
        number = reply.get("id") if isinstance(reply, dict) else None
        answer = self._open.get(number) if isinstance(number, int) else None
        if answer is None or answer.done():
            log.info("automatic mask: unexpected %r", line[:200])
            return
        if "error" in reply:
            hint = reply.get("hint")
            answer.set_exception(
                RecasterError(str(reply["error"]), hint=str(hint) if hint else None)
            )
            return
        try:
            answer.set_result(parse_reply(reply.get("polygons")))
        except FaceFileError as error:
            answer.set_exception(RecasterError(f"the automatic mask's answer: {error.message}"))

    def _ended(self) -> EnvironmentProblem:
        said = next((w for w in self._last_words if w.startswith("error: ")), None)
        said = said or (self._last_words[-1] if self._last_words else "it said nothing")
        return EnvironmentProblem(
            f"the automatic mask has ended: {said.removeprefix('error: ')}", hint=_HINT
        )


def parse_reply(value: Any) -> list[Polygon]:
    """Polygons of an answer: ``[{"include": true, "points": [[x, y], …]}, …]``.

    Raises:
        FaceFileError: anything else.
    """
    try:
        items = [(int(item["include"]), item["points"]) for item in value]
    except (TypeError, KeyError, ValueError):
        raise FaceFileError("the drawn outlines are damaged", code="bad-metadata") from None
    return parse_polygons(items)
