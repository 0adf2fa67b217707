"""``recaster faces``: the group; its commands are in ``faces_*.py``, bodies import late."""

from cyclopts import App

faces_app = App(
    name="faces",
    help="Faces: list, check, prune, sort, mask, pack; nothing is ever deleted.",
)
