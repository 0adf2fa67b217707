"""``recaster`` and ``python -m recaster_tui``."""

import sys

from recaster_tui.cli import main

if __name__ == "__main__":
    sys.exit(main())
