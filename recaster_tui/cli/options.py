"""``recaster options``."""

import sys

from recaster_tui.options import ModelClass, render


def show_options(model: str, *, markdown: bool, as_json: bool) -> int:
    """Print the table of a model class in the form asked for."""
    found = ModelClass(model)
    if as_json:
        sys.stdout.write(render.as_json(found) + "\n")
    elif markdown:
        sys.stdout.write(render.as_markdown(found))
    elif sys.stdout.isatty():
        from rich.console import Console

        Console().print(render.as_table(found))
    else:
        sys.stdout.write(render.as_plain(found))
    return 0
