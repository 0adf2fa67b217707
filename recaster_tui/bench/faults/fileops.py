"""Every change that this process makes to files below a folder: seen, logged, stopped at.

Patches what the Python programs of this project write files with (``os``, ``open``), so that a
process can be killed between any two of its system calls, or in the middle of a write. Only for
processes that are made to be killed; there is no way back.
"""

import builtins
import contextlib
import io
import os
import pickle
import signal
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class FileOp:
    """One system call that changes files, or makes a change last.

    Attributes:
        kind: create, write, truncate, fsync, mkdir, rename, unlink or rmdir.
        path: absolute.
        target: where a rename leads.
        offset: of a write; the new length of a truncate.
        data: of a write.
        thread: the name of the thread that does it.
    """

    kind: str
    path: str
    target: str = ""
    offset: int = 0
    data: bytes = b""
    thread: str = ""


Stop = Callable[[FileOp], bool | int]
"""Whether to die before this operation; a number: after so many bytes of this write."""


class Tap:
    """Sees the file operations below *root*, in the order in which they happen.

    Args:
        root: absolute folder.
        stop: asked before each; see :data:`Stop`.
        log: file of all operations with their data, for :mod:`.powercut`; outside *root*.
    """

    def __init__(self, root: Path, stop: Stop, log: Path | None = None) -> None:
        self._root = os.path.realpath(root) + os.sep
        self._stop = stop
        self._mutex = threading.RLock()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._log = os.open(log, flags, 0o666) if log is not None else -1
        self._write, self._pwrite = os.write, os.pwrite

    def install(self) -> None:
        """From now on."""
        for name in ("open", "write", "pwrite", "fsync", "fdatasync", "ftruncate", "truncate"):
            setattr(os, name, getattr(self, f"_{name}_of")(getattr(os, name)))
        for name, kind in (("unlink", "unlink"), ("remove", "unlink"), ("rmdir", "rmdir")):
            setattr(os, name, self._removal_of(getattr(os, name), kind))
        os.mkdir = self._mkdir_of(os.mkdir)
        for name in ("rename", "replace"):
            setattr(os, name, self._rename_of(getattr(os, name)))
        opener = self._file_of(io.open)
        io.open = builtins.open = opener

    # -- the common path --------------------------------------------------------------------

    @contextlib.contextmanager
    def _doing(self, op: FileOp | None) -> Iterator[None]:
        """The operation happens inside; one at a time, so that the log has their order."""
        if op is None:
            yield
            return
        with self._mutex:
            if self._stop(op) is True:
                os.kill(os.getpid(), signal.SIGKILL)
            yield
            self._note(op)

    def _note(self, op: FileOp) -> None:
        if self._log >= 0:
            raw = pickle.dumps(op)
            self._write(self._log, _LENGTH.pack(len(raw)) + raw)

    def _op(self, kind: str, path: Any, dir_fd: int | None = None, **more: Any) -> FileOp | None:
        place = Path(os.fsdecode(path))
        if dir_fd is not None:
            place = Path(path_of(dir_fd)) / place
        text = f"{os.path.realpath(place.parent)}{os.sep}{place.name}"
        if not f"{text}{os.sep}".startswith(self._root):
            return None
        return FileOp(kind, text, thread=threading.current_thread().name, **more)

    def _written(self, real: Callable[..., int], fd: int, data: Any, offset: int | None) -> int:
        """A write of *data* at *offset*; None: where the descriptor stands."""
        place = (offset,) if offset is not None else ()
        if fd == self._log:
            return real(fd, data, *place)
        view = memoryview(data).cast("B")
        with self._mutex:
            at = offset
            if at is None:
                at = os.lseek(fd, 0, os.SEEK_CUR)
                if _appends(fd):
                    at = os.fstat(fd).st_size
            op = self._op("write", path_of(fd), offset=at, data=bytes(view))
            if op is None:
                return real(fd, data, *place)
            answer = self._stop(op)
            if answer is True:
                os.kill(os.getpid(), signal.SIGKILL)
            elif answer is not False:
                real(fd, view[:answer], *place)
                self._note(FileOp("write", op.path, offset=at, data=op.data[:answer]))
                os.kill(os.getpid(), signal.SIGKILL)
            count = real(fd, view, *place)
            self._note(op)
            return count

    # -- what is put in place of the system's ---------------------------------------------------

    def _write_of(self, real: Callable[..., int]) -> Callable[..., int]:
        return lambda fd, data: self._written(real, fd, data, None)

    def _pwrite_of(self, real: Callable[..., int]) -> Callable[..., int]:
        return lambda fd, data, offset: self._written(real, fd, data, offset)

    def _open_of(self, real: Callable[..., int]) -> Callable[..., int]:
        def opened(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            op = None
            if flags & (os.O_CREAT | os.O_TRUNC):
                op = self._op("create", path, dir_fd)
                if op is not None and os.path.lexists(op.path):
                    cut = FileOp("truncate", op.path, thread=op.thread)
                    op = cut if flags & os.O_TRUNC else None
            with self._doing(op):
                return real(path, flags, mode, dir_fd=dir_fd)

        return opened

    def _fsync_of(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def synced(fd: Any) -> None:
            number = fd if isinstance(fd, int) else fd.fileno()
            with self._doing(self._op("fsync", path_of(number))):
                real(number)

        return synced

    _fdatasync_of = _fsync_of

    def _ftruncate_of(self, real: Callable[[int, int], None]) -> Callable[[int, int], None]:
        def cut(fd: int, length: int) -> None:
            with self._doing(self._op("truncate", path_of(fd), offset=length)):
                real(fd, length)

        return cut

    def _truncate_of(self, real: Callable[[Any, int], None]) -> Callable[[Any, int], None]:
        def cut(path: Any, length: int) -> None:
            name = path_of(path) if isinstance(path, int) else path
            with self._doing(self._op("truncate", name, offset=length)):
                real(path, length)

        return cut

    def _removal_of(self, real: Callable[..., None], kind: str) -> Callable[..., None]:
        def removed(path: Any, *, dir_fd: int | None = None) -> None:
            with self._doing(self._op(kind, path, dir_fd)):
                real(path, dir_fd=dir_fd)

        return removed

    def _mkdir_of(self, real: Callable[..., None]) -> Callable[..., None]:
        def made(path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
            with self._doing(self._op("mkdir", path, dir_fd)):
                real(path, mode, dir_fd=dir_fd)

        return made

    def _rename_of(self, real: Callable[..., None]) -> Callable[..., None]:
        def moved(
            source: Any,
            target: Any,
            *,
            src_dir_fd: int | None = None,
            dst_dir_fd: int | None = None,
        ) -> None:
            op = self._op("rename", source, src_dir_fd)
            end = self._op("rename", target, dst_dir_fd)
            if op is not None and end is not None:
                op = FileOp("rename", op.path, end.path, thread=op.thread)
            with self._doing(op):
                real(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

        return moved

    def _file_of(self, real: Callable[..., Any]) -> Callable[..., Any]:
        tap = self

        class TappedFile(io.FileIO):
            def write(self, data: Any, /) -> int:
                return tap._written(super_write(self), self.fileno(), data, None)

        def super_write(file: io.FileIO) -> Callable[..., int]:
            return lambda fd, data: io.FileIO.write(file, data) or 0

        def opened(
            file: Any,
            mode: str = "r",
            buffering: int = -1,
            encoding: str | None = None,
            errors: str | None = None,
            newline: str | None = None,
            closefd: bool = True,
            opener: Any = None,
        ) -> Any:
            arguments = (buffering, encoding, errors, newline, closefd, opener)
            if not set(mode) & set("wxa+") or "t" in mode or opener is not None:
                return real(file, mode, *arguments)
            existing = isinstance(file, int)
            op = self._op("create", path_of(file) if existing else file)
            if op is None:
                return real(file, mode, *arguments)
            if existing:
                op = None
            elif os.path.lexists(op.path):
                op = FileOp("truncate", op.path, thread=op.thread) if "w" in mode else None
            with self._doing(op):
                raw = TappedFile(file, mode.replace("b", ""), closefd)
            if buffering == 0:
                return raw
            buffer: Any = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            if "b" in mode:
                return buffer
            return io.TextIOWrapper(buffer, encoding or "utf-8", errors, newline)

        return opened


def path_of(fd: int) -> str:
    """The path that a descriptor has now."""
    try:
        return str(Path(f"/proc/self/fd/{fd}").readlink())
    except OSError:
        import fcntl

        request = getattr(fcntl, "F_GETPATH", None)  # macOS
        if request is None:
            return ""
        raw: bytes = fcntl.fcntl(fd, request, bytes(1024))
        return os.fsdecode(raw.split(b"\0")[0])


def read_log(path: Path) -> list[FileOp]:
    """What a :class:`Tap` has logged; a torn last record is left out."""
    raw, found, at = path.read_bytes(), [], 0
    while at + _LENGTH.size <= len(raw):
        (length,) = _LENGTH.unpack_from(raw, at)
        at += _LENGTH.size
        if at + length > len(raw):
            break
        found.append(pickle.loads(raw[at : at + length]))  # ours, of a moment ago
        at += length
    return found


def _appends(fd: int) -> bool:
    import fcntl

    return bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND)
