"""``recaster extract``. The body imports late."""

from cyclopts import App, Group


def register(app: App, group: Group) -> None:
    """Add the command."""
