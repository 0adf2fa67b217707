"""How much memory a training step may take and how much one took, on a GPU and on the host."""

import contextlib
import resource
from pathlib import Path
from typing import Protocol

import psutil
import torch

SHARE = 0.8
"""Part of the host's free memory that may be used: the rest is for everything else that runs."""

GPU_RESERVE = 0.06
GPU_RESERVE_LEAST = 512 << 20
"""What stays free of a GPU's memory: previews, other streams, fragments."""

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


class Memory(Protocol):
    """Where a model trains.

    Attributes:
        limit: bytes that :meth:`peak` may reach.
        deadly: running out does not raise an exception, it ends processes.
    """

    limit: int
    deadly: bool

    def restart(self) -> int:
        """Forget the peak; returns the bytes in use now."""
        ...

    def peak(self) -> int:
        """The most bytes in use since :meth:`restart`."""
        ...


def memory_of(device: torch.device) -> Memory:
    """The memory of *device*, with a limit by what is free at this moment."""
    if device.type == "cuda":
        return CudaMemory(device)
    return MpsMemory() if device.type == "mps" else HostMemory()


class CudaMemory:
    """Of one GPU: what torch holds, against what torch holds and what is free."""

    deadly = False

    def __init__(self, device: torch.device) -> None:
        self._device = device
        torch.cuda.empty_cache()
        free, total = torch.cuda.mem_get_info(device)
        reserve = max(GPU_RESERVE_LEAST, int(GPU_RESERVE * total))
        self.limit = torch.cuda.memory_reserved(device) + free - reserve

    def restart(self) -> int:
        """See :class:`Memory`; what is only cached is given back."""
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self._device)
        return int(torch.cuda.memory_reserved(self._device))

    def peak(self) -> int:
        """See :class:`Memory`: blocks count whole, as they do when memory runs out."""
        torch.cuda.synchronize(self._device)
        return int(torch.cuda.max_memory_reserved(self._device))


class MpsMemory:
    """Of an Apple GPU, which has no measure of the peak: what the driver holds stands for it."""

    deadly = True

    def __init__(self) -> None:
        self.limit = int(SHARE * torch.mps.recommended_max_memory())

    def restart(self) -> int:
        """See :class:`Memory`."""
        torch.mps.empty_cache()
        return int(torch.mps.driver_allocated_memory())

    def peak(self) -> int:
        """See :class:`Memory`."""
        torch.mps.synchronize()
        return int(torch.mps.driver_allocated_memory())


class HostMemory:
    """Of this process: resident bytes, against what the machine, cgroups and limits leave."""

    deadly = True

    def __init__(self) -> None:
        self.limit = self.restart() + int(SHARE * host_room())

    def restart(self) -> int:
        """See :class:`Memory`."""
        # Linux: the peak begins anew. Elsewhere it is that of the whole life, never below the true.
        with contextlib.suppress(OSError):
            (PROC / "self/clear_refs").write_text("5")
        return int(psutil.Process().memory_info().rss)

    def peak(self) -> int:
        """See :class:`Memory`."""
        try:
            for line in (PROC / "self/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) << 10
        except (OSError, ValueError, IndexError):
            pass
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if psutil.MACOS else most << 10


def host_room() -> int:
    """Bytes that this process can still take: by the machine, its cgroups and its own limits."""
    rooms = [int(psutil.virtual_memory().available), *_cgroup_rooms()]
    info = psutil.Process().memory_info()
    for name, used in (("RLIMIT_AS", info.vms), ("RLIMIT_DATA", getattr(info, "data", 0))):
        soft, _ = resource.getrlimit(getattr(resource, name))
        if soft != resource.RLIM_INFINITY:
            rooms.append(soft - used)
    return max(0, min(rooms))


def _cgroup_rooms() -> list[int]:
    """What each memory cgroup above this process leaves: version 2, then version 1."""
    rooms: list[int] = []
    try:
        lines = (PROC / "self/cgroup").read_text().splitlines()
    except OSError:
        return rooms
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if not controllers:
            root, most, used, cached = CGROUPS, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            root, most = CGROUPS / "memory", "memory.limit_in_bytes"
            used, cached = "memory.usage_in_bytes", "total_inactive_file"
        else:
            continue
        place = root / path.lstrip("/")
        # A limit of any group above holds as well; in a container the path may not be visible.
        for folder in (place, *place.parents):
            if folder.is_relative_to(root):
                room = _room(folder, most, used, cached)
                rooms += [] if room is None else [room]
    return rooms


def _room(folder: Path, most: str, used: str, cached: str) -> int | None:
    try:
        limit, now = int((folder / most).read_text()), int((folder / used).read_text())
        stat = (folder / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):  # "max" is no number: no limit
        return None
    pairs = (line.partition(" ") for line in stat)
    # Pages of files count as used but are given back when memory gets short.
    return limit - now + next((int(value) for key, _, value in pairs if key == cached), 0)
