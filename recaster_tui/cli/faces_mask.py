"""``recaster faces``: masks. Bodies import late."""

from cyclopts import App


def register(app: App) -> None:
    """Add the commands to ``recaster faces``."""
