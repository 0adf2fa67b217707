"""``run.toml``: what a run was asked to do. Written once, by whoever starts it."""

import secrets
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recaster_tui.errors import DamagedError
from recaster_tui.files import read_toml, write_toml
from recaster_tui.options import ModelClass


class RunSpec(BaseModel):
    """The request. Paths are relative to the workspace (two folders above the run folder)."""

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())

    protocol: int = 1
    run_id: str
    created: float = Field(description="unix seconds")
    model_name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 .-]*$", max_length=64)
    model_class: ModelClass
    options: dict[str, Any] = Field(description="every option of the model class, by key")
    src: str = Field(default="data_src/aligned", description="source faceset folder")
    dst: str = Field(default="data_dst/aligned", description="destination faceset folder")
    models: str = Field(default="model", description="folder of all models of the workspace")
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1, mps")
    target_iterations: int = Field(default=0, ge=0, description="0 = no end")
    target_seconds: float = Field(default=0.0, ge=0, description="0 = no end")

    @property
    def model_folder(self) -> str:
        """``model/<name>.<class>`` relative to the workspace."""
        return f"{self.models}/{self.model_name}.{self.model_class.value}"


def new_run_id(model_class: ModelClass, now: datetime | None = None) -> str:
    """Sortable by time and unique: ``20261122T153000-saehd-3f2a``."""
    stamp = (now or datetime.now()).strftime("%Y%m%dT%H%M%S")
    return f"{stamp}-{model_class.value}-{secrets.token_hex(2)}"


def write_run_spec(path: Path, spec: RunSpec) -> None:
    """Write ``run.toml`` atomically."""
    write_toml(path, spec.model_dump(mode="json", exclude_none=True))


def read_run_spec(path: Path) -> RunSpec:
    """Read ``run.toml``.

    Raises:
        DamagedError: missing, unreadable, or not a run of a protocol we know.
    """
    try:
        spec = RunSpec.model_validate(read_toml(path))
    except FileNotFoundError as error:
        raise DamagedError("this is not a run folder: it has no run.toml", where=path) from error
    except (OSError, ValueError, ValidationError) as error:
        raise DamagedError(f"cannot read the run's description: {error}", where=path) from error
    if spec.protocol != 1:
        raise DamagedError(
            f"this run speaks protocol {spec.protocol}, this program speaks 1",
            where=path,
            hint="update recaster_tui on this machine",
        )
    return spec
