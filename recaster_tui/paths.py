"""Where our own files live on this machine (platformdirs), and what ships inside the package.

``RECASTER_HOME`` moves everything below one folder: tests use it, and so can a portable rig.
"""

import os
from pathlib import Path

from platformdirs import PlatformDirs

_DIRS = PlatformDirs("recaster", appauthor=False)
_PACKAGE = Path(__file__).parent


def _base(kind: str, default: str) -> Path:
    home = os.environ.get("RECASTER_HOME")
    return Path(home) / kind if home else Path(default)


def data_dir() -> Path:
    """Run history and other things that must last."""
    return _base("data", _DIRS.user_data_dir)


def config_dir() -> Path:
    """The user's own ``themes/`` and ``configs/``, and ``settings.toml``."""
    return _base("config", _DIRS.user_config_dir)


def log_dir() -> Path:
    """Log files of the app."""
    return _base("log", _DIRS.user_log_dir)


def cache_dir() -> Path:
    """What can be made again at any time (indexes and thumbnails of faces); may be deleted."""
    return _base("cache", _DIRS.user_cache_dir)


def shipped(kind: str) -> Path:
    """The folder ``themes`` or ``configs`` as shipped: in the wheel, or in a checkout."""
    inside = _PACKAGE / kind
    return inside if inside.is_dir() else _PACKAGE.parent / kind


def find_all(kind: str, suffix: str = ".toml") -> dict[str, Path]:
    """Every shipped file of *kind* by stem, a user's own ones joining (and overriding) them."""
    found: dict[str, Path] = {}
    for folder in (shipped(kind), config_dir() / kind):
        if folder.is_dir():
            found.update({p.stem: p for p in sorted(folder.glob(f"*{suffix}"))})
    return found
