"""Slow signals of the machine, and the small thread that shows the process is alive."""

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import psutil

from recaster_tui.protocol import EventType
from recaster_tui.training.clock import running
from recaster_tui.training.journal import JournalWriter

ALIVE_SECONDS = 5.0
METRICS_SECONDS = 10.0
_TICK = 0.5


class Heartbeat:
    """Emits ``alive`` after five silent seconds and ``metrics`` every ten, from its own thread.

    A long step, a slow load or a driver call that blocks must not make the run look dead.
    """

    def __init__(
        self,
        journal: JournalWriter,
        iteration: Callable[[], int],
        measure: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        self.measure = measure
        self._journal = journal
        self.iteration = iteration
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin."""
        running.watch(True)
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        running.watch(False)

    def _run(self) -> None:
        waited = 0.0
        while not self._stop.wait(_TICK):
            waited += _TICK
            running()
            # Nothing that goes wrong with a figure may end the thread that says we live.
            with contextlib.suppress(Exception):
                if waited >= METRICS_SECONDS:
                    waited = 0.0
                    if figures := self.measure():
                        self._journal.emit(EventType.METRICS, **figures)
                if self._journal.silent_seconds >= ALIVE_SECONDS:
                    self._journal.emit(EventType.ALIVE, iteration=self.iteration())


class MachineMeter:
    """CPU and memory by psutil, GPU memory by torch, GPU load by NVML where it is installed."""

    def __init__(self, device_kind: str, device_index: int = 0) -> None:
        self._cuda = device_kind == "cuda"
        self._index = device_index
        self._process = psutil.Process()
        self._nvml: Any = None
        psutil.cpu_percent(None)  # the first call only sets the reference point
        if self._cuda:
            with contextlib.suppress(Exception):
                import pynvml

                pynvml.nvmlInit()
                self._nvml = pynvml

    def __call__(self) -> dict[str, Any]:
        """The ``metrics`` payload: percent and bytes; keys that cannot be had are left out."""
        memory = psutil.virtual_memory()
        figures: dict[str, Any] = {
            "cpu": psutil.cpu_percent(None),
            "ram": memory.total - memory.available,
            "ram_total": memory.total,
            "process_ram": self._process.memory_info().rss,
        }
        if self._cuda:
            import torch

            free, total = torch.cuda.mem_get_info(self._index)
            figures |= {"vram": total - free, "vram_total": total}
        if self._nvml is not None:
            with contextlib.suppress(Exception):
                figures |= self._read_nvml()
        return figures

    def _read_nvml(self) -> dict[str, Any]:
        import torch

        # CUDA_VISIBLE_DEVICES renumbers: the UUID names the same card on both sides.
        uuid = str(torch.cuda.get_device_properties(self._index).uuid)
        name = uuid if uuid.startswith("GPU-") else f"GPU-{uuid}"
        handle = self._nvml.nvmlDeviceGetHandleByUUID(name)
        return {
            "gpu": self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu,
            "gpu_temperature": self._nvml.nvmlDeviceGetTemperature(handle, 0),
            "gpu_watts": self._nvml.nvmlDeviceGetPowerUsage(handle) / 1000.0,
        }
