"""The command line: every action without the screen.

Importing this room imports nothing heavy; each command imports what it needs when it runs, so
that ``recaster --help`` answers at once.
"""

from recaster_tui.cli.entry import main

__all__ = ["main"]
