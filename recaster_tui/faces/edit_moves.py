"""Moving files so that a crash between any two system calls can be told apart afterwards."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from recaster_tui.files import fsync_dir

_NO_LINKS = {errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EINVAL}


@dataclass(frozen=True)
class Phase:
    """Moves that do not depend on each other.

    Attributes:
        moves: (from, to).
        fresh: ``to`` when no target existed before the phase, so that a target tells that a move
            was begun; ``from`` when the sources are names of ours that exist only until moved.
    """

    moves: Sequence[tuple[Path, Path]]
    fresh: str


def move(source: Path, target: Path) -> None:
    """Rename a file; an existing *target* is never overwritten, not even by a race.

    Raises:
        FileExistsError: there is a *target*.
        OSError: see the system.
    """
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.EXDEV:
            _copy(source, target)
        elif error.errno in _NO_LINKS:
            if os.path.lexists(target):
                raise FileExistsError(errno.EEXIST, "the file exists", str(target)) from None
            source.rename(target)
            return
        else:
            raise
    source.unlink()


def free(path: Path, taken: Callable[[Path], bool] = os.path.lexists) -> Path:
    """*path*, or the next name that nothing has: ``a.jpg``, ``a-2.jpg``, ``a-3.jpg`` …"""
    result, number = path, 1
    while taken(result):
        number += 1
        result = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return result


def run_forward(phase: Phase) -> None:
    """Make every move of *phase*.

    Raises:
        OSError: what was moved until then stays so.
    """
    for source, target in phase.moves:
        move(source, target)
    _settle(phase)


def run_back(phase: Phase, *, complete: bool) -> list[tuple[Path, Path]]:
    """Take *phase* back, however far it came; may itself be interrupted and called again.

    Args:
        phase: what to take back.
        complete: whether it had once come to its end. Then a target is ours even if something
            else has the source's name now.

    Returns:
        moves that did not end where they began: (where it should be, where it is), because
        something else has that name now; a file that is gone is (where it should be, itself).

    Raises:
        OSError: not everything could be moved.
    """
    wrong: list[tuple[Path, Path]] = []
    for source, target in reversed(phase.moves):
        here, there = os.path.lexists(source), os.path.lexists(target)
        if phase.fresh == "from" and here:
            if there and _same(source, target, content=True):  # linked, but not yet unlinked
                target.unlink()
            continue
        if not there:
            if not here:
                wrong.append((source, source))
            continue
        if here:
            if _same(source, target, content=not complete):
                target.unlink()
                continue
            if not complete:
                continue  # somebody else's file took the place before we came to it
            other = free(source)
            wrong.append((source, other))
            move(target, other)
            continue
        move(target, source)
    _settle(phase)
    return wrong


def _same(one: Path, two: Path, *, content: bool) -> bool:
    """Whether two names are links to one file, or (*content*) a copy over a border of disks."""
    with contextlib.suppress(OSError):
        first, second = one.lstat(), two.lstat()
        if os.path.samestat(first, second):
            return True
        return content and first.st_size == second.st_size and one.read_bytes() == two.read_bytes()
    return False


def _copy(source: Path, target: Path) -> None:
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".recaster-", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file, source.open("rb") as original:
            shutil.copyfileobj(original, file)
            file.flush()
            os.fsync(file.fileno())
        shutil.copystat(source, temporary)
        move(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _settle(phase: Phase) -> None:
    for folder in {path.parent for pair in phase.moves for path in pair}:
        with contextlib.suppress(OSError):
            fsync_dir(folder)
