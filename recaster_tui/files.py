"""Writing files so that a crash at any instant leaves the old or the new content, never a mix."""

import contextlib
import os
import tempfile
import threading
import time
import tomllib
from pathlib import Path
from typing import Any

import tomli_w

TEMPORARY_SECONDS = 60.0
"""Writing one file never takes so long: what is older was left by a process that was killed."""

_umask_lock = threading.Lock()


def fsync_dir(folder: Path) -> None:
    """Make a rename or a new name inside *folder* survive a power cut."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomic(path: Path, data: bytes | str, *, durable: bool = True) -> None:
    """Replace *path* by *data* in one step: temporary beside it, fsync, rename.

    *durable* = False skips the fsyncs, for files that may be lost (previews), not torn.
    """
    raw = data.encode() if isinstance(data, str) else data
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(raw)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        # mkstemp makes 0600; a shared workspace expects the usual mode.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        fsync_dir(path.parent)


def sweep(folder: Path, name: str = "*", *, age: float = TEMPORARY_SECONDS) -> None:
    """Remove what killed processes left of :func:`write_atomic` in *folder*. Raises nothing.

    Args:
        folder: where; it need not exist.
        name: of the files that were to be written; may have wildcards.
        age: seconds since it was last written to; 0 only where nobody can be writing it.
    """
    with contextlib.suppress(OSError):
        for path in folder.glob(f".{name}.*.tmp"):
            with contextlib.suppress(OSError):
                if age <= 0 or time.time() - path.stat().st_mtime > age:
                    path.unlink()


def write_toml(path: Path, table: dict[str, Any], *, durable: bool = True) -> None:
    """Write *table* as TOML, atomically."""
    write_atomic(path, tomli_w.dumps(table), durable=durable)


def expanded(path: Path | str) -> Path:
    """*path* with ``~`` as the home folder; of a user that is not there it stays as it is.

    ``Path.expanduser`` raises for that, and half a name is typed before a whole one.
    """
    return Path(os.path.expanduser(path))  # noqa: PTH111


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file. Raises ``OSError`` or ``tomllib.TOMLDecodeError``."""
    with path.open("rb") as file:
        try:
            return tomllib.load(file)
        except RecursionError as error:
            raise tomllib.TOMLDecodeError("nested too deeply") from error


def _umask() -> int:
    # There is no way to read it without setting it: two threads at once would take the other's
    # interim one for the user's, and leave it behind.
    with _umask_lock:
        mask = os.umask(0o077)
        os.umask(mask)
    return mask
