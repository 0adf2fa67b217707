"""A run whose killed trainer is started again while somebody is still looking at the dead one."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import psutil

from recaster_tui.options import ModelClass, defaults
from recaster_tui.protocol import Event, RunFolder, RunSpec, encode_event, write_run_spec
from recaster_tui.supervisor import Run, RunState
from recaster_tui.supervisor.launcher import ProcessId
from recaster_tui.supervisor.local import LocalLauncher


class SlowLauncher(LocalLauncher):
    """Every look at the process takes until it is allowed to end."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.allowed = asyncio.Event(), asyncio.Event()

    async def alive(self, process: ProcessId, marker: str = "") -> bool | None:
        self.asked.set()
        answer = await super().alive(process, marker)
        await self.allowed.wait()
        return answer


async def test_the_new_trainer_is_not_taken_for_the_dead_one(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "runs" / "r")
    folder.root.mkdir(parents=True)
    options = defaults(ModelClass.QUICK96).model_dump(mode="json")
    spec = RunSpec(
        run_id="r", created=1.0, model_name="m", model_class=ModelClass.QUICK96, options=options
    )
    write_run_spec(folder.spec, spec)
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    hello = {"pid": child.pid, "started": 1.0, "host": os.uname().nodename, "iteration": 0}
    folder.journal.write_bytes(encode_event(Event(1, 2.0, "hello", hello)))
    launcher = SlowLauncher()
    run = Run(folder, spec, launcher)
    look = asyncio.create_task(run.poll())
    await launcher.asked.wait()  # it knows by now that the old one is dead
    me = psutil.Process()
    run.relaunched(ProcessId(me.pid, me.create_time(), os.uname().nodename))
    launcher.allowed.set()
    await look
    assert run.state is RunState.STARTING
    await run.poll()
    assert run.state is RunState.STARTING
