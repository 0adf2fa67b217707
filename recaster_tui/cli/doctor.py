"""``recaster doctor``: looks at the machine, names each fault and its cure."""

import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from recaster_tui import __version__, paths
from recaster_tui.cli.words import size
from recaster_tui.errors import ExitCode

_LOW_DISK = 2_000_000_000
_LOW_MEMORY = 4_000_000_000


@dataclass(frozen=True)
class Finding:
    """One thing looked at. ``level``: ok, note (works, could be better) or fault."""

    what: str
    level: str
    found: str
    cure: str = ""


def examine(*, as_json: bool) -> int:
    """Print all findings; 3 where one of them is a fault."""
    findings = list(_findings())
    if as_json:
        sys.stdout.write(json.dumps([asdict(f) for f in findings], indent=2) + "\n")
    else:
        marks = {"ok": "ok   ", "note": "note ", "fault": "FAULT"}
        for finding in findings:
            sys.stdout.write(f"{marks[finding.level]}  {finding.what:<12} {finding.found}\n")
            if finding.cure:
                sys.stdout.write(f"{'':<20}hint: {finding.cure}\n")
    faulty = any(finding.level == "fault" for finding in findings)
    return ExitCode.ENVIRONMENT if faulty else ExitCode.OK


def _findings() -> Iterator[Finding]:
    yield Finding("recaster", "ok", f"{__version__} at {Path(__file__).parent.parent}")
    yield Finding("python", "ok", f"{platform.python_version()} at {sys.executable}")
    yield from _torch()
    yield from _machine()
    yield from _folders()
    yield from _terminal()


def _torch() -> Iterator[Finding]:
    try:
        import torch
    except (ImportError, OSError) as error:
        line = str(error).splitlines()[0] if str(error) else "cannot be imported"
        yield Finding("torch", "fault", line, "reinstall it: pip install --force-reinstall torch")
        return
    yield Finding("torch", "ok", str(torch.__version__))
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(index)
            yield Finding("gpu", "ok", f"cuda:{index} {facts.name}, {size(facts.total_memory)}")
    elif torch.backends.mps.is_available():
        yield Finding("gpu", "ok", "mps (Apple)")
    elif shutil.which("nvidia-smi"):
        yield Finding(
            "gpu",
            "fault",
            f"there is an NVIDIA driver, but this torch ({torch.__version__}) finds no GPU",
            "install a CUDA build of torch that fits the driver; see README, Install",
        )
    else:
        yield Finding(
            "gpu",
            "note",
            "none; training runs on the processor",
            "small models only: quick96, demo",
        )


def _machine() -> Iterator[Finding]:
    import psutil

    memory = psutil.virtual_memory()
    level = "note" if memory.total < _LOW_MEMORY else "ok"
    yield Finding("processor", "ok", f"{os.cpu_count()} threads, {platform.machine()}")
    yield Finding("memory", level, f"{size(memory.total)}, {size(memory.available)} available")


def _folders() -> Iterator[Finding]:
    for what, folder in (("history", paths.data_dir()), ("here", Path.cwd())):
        there = folder
        while not there.exists():
            there = there.parent
        free = shutil.disk_usage(there).free
        text = f"{folder}, {size(free)} free"
        if not os.access(there, os.W_OK):
            yield Finding(what, "fault", f"{text}, not writable", f"chown or chmod {there}")
        elif free < _LOW_DISK:
            yield Finding(what, "note", text, "a model and its backups need a few GB")
        else:
            yield Finding(what, "ok", text)


def _terminal() -> Iterator[Finding]:
    if not sys.stdout.isatty():
        yield Finding("terminal", "note", "the output is no terminal", "run doctor in one")
    else:
        columns, lines = shutil.get_terminal_size()
        text = f"{os.environ.get('TERM', 'TERM is not set')}, {columns}×{lines}"
        if os.environ.get("TMUX"):
            text += ", in tmux"
        small = columns < 80 or lines < 24
        cure = "the app needs 80×24" if small else ""
        yield Finding("terminal", "note" if small else "ok", text, cure)
        true_colour = os.environ.get("COLORTERM") in ("truecolor", "24bit")
        yield Finding(
            "colours",
            "ok" if true_colour else "note",
            "24 bit" if true_colour else "COLORTERM does not say truecolor",
            "" if true_colour else "previews look better with: export COLORTERM=truecolor",
        )
    try:
        yield Finding("pictures", "ok", f"textual-image {version('textual-image')}, half-blocks")
    except PackageNotFoundError:
        yield Finding("pictures", "ok", "half-blocks")
