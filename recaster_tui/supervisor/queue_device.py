"""Which device a run would take, told without importing torch."""

import os
import platform
import sys
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_GPU_NODES = ("/dev/nvidia0", "/dev/kfd", "/dev/dxg")  # NVIDIA, ROCm, Windows' own Linux


def device_of(request: str) -> str:
    """The name under which slots are counted: ``auto`` and ``cuda`` become what they stand for."""
    if request == "auto":
        return _automatic()
    return "cuda:0" if request == "cuda" else request


@lru_cache(maxsize=1)
def _automatic() -> str:
    """What the trainer's ``auto`` takes: the first GPU, else Apple's, else the processor.

    A guess by what the machine has, for counting only; the trainer asks torch itself.
    """
    try:
        only_cpu = version("torch").endswith("+cpu")
    except PackageNotFoundError:
        only_cpu = True
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    hidden = visible is not None and visible.strip() in ("", "-1")
    if not only_cpu and not hidden and any(Path(node).exists() for node in _GPU_NODES):
        return "cuda:0"
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return "mps"
    return "cpu"
