"""What the screen remembers between two starts (``settings.toml``); never needed, never fatal."""

import logging
import tomllib
from pathlib import Path
from typing import Any

from recaster_tui import paths
from recaster_tui.files import read_toml, write_toml

log = logging.getLogger(__name__)


def _path() -> Path:
    return paths.config_dir() / "settings.toml"


def load_settings() -> dict[str, Any]:
    """Everything in the file; empty when it is missing or unreadable."""
    try:
        return read_toml(_path())
    except FileNotFoundError:
        return {}
    except (OSError, tomllib.TOMLDecodeError) as error:
        log.warning("settings are unreadable and are not used: %s", error)
        return {}


def save_setting(key: str, value: Any) -> None:
    """Change one setting, keep the others. A read-only home is no reason to fail."""
    try:
        table = read_toml(_path()) if _path().is_file() else {}
        if table.get(key) != value:
            write_toml(_path(), {**table, key: value}, durable=False)
    except (OSError, tomllib.TOMLDecodeError) as error:
        log.warning("cannot keep setting %s: %s", key, error)
