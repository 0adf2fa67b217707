"""What faces can be ordered by: every column, and DeepFaceLab's methods."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from textual.binding import Binding, BindingType

from recaster_tui.ui.face_side import SCORE, FaceSide, Order
from recaster_tui.ui.screens.help import Picker

_DOWN = ("mask_disagreement", "doubt", "has_polygons", "has_xseg", "rect_area", "size")
"""Columns whose largest values are looked for first; of others the smallest: the worst."""


def sort_choices(side: FaceSide) -> list[tuple[str, str, Order]]:
    """(label, note, order) of everything these faces can be ordered by."""
    from recaster_tui.faces.sorting import COLUMN_PREFIX
    from recaster_tui.faces.sorting_methods import SORTS, Kind

    items = [
        ("name", "the files' names", Order("name", "name")),
        ("frame", "the name of the frame a face is from", Order("source", "frame")),
    ]
    columns = {k: info for k, info in side.columns.items() if not k.startswith(COLUMN_PREFIX)}
    if SCORE in columns:
        info = columns.pop(SCORE)
        items.insert(0, (info.label, f"{info.help}; the worst first", Order(SCORE, info.label)))
    for key, info in columns.items():
        if key.startswith("finding."):
            code = key.removeprefix("finding.")
            note = info.help or f"faces that the check finds {code}, the worst first"
            items.append((code, note, Order(key, code, descending=True)))
        else:
            items.append((info.label, info.help, Order(key, info.label, key in _DOWN)))
    for key, method in SORTS.items():
        figures = method.kind is Kind.VALUE
        order = Order(
            COLUMN_PREFIX + key.replace("-", "_"),
            method.label,
            figures and not method.ascending,
            method=key,
            quiet=not figures,
        )
        items.append((f"DeepFaceLab: {method.label}", method.help, order))
    return items


class SortMenu(Picker[Order]):
    """Enter takes the usual direction, O the other one; the present order is under the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("O", "other", "Other direction", id="sort-other"),
    ]

    subtitle = "enter takes · O other direction · esc leaves"

    def __init__(self, items: Sequence[tuple[str, str, Order]], now: Order) -> None:
        at = next((at for at, (_, _, order) in enumerate(items) if order.key == now.key), 0)
        super().__init__("Sort by", items, at)

    def action_other(self) -> None:
        """Take it in the other direction."""
        from textual.widgets import OptionList

        at = self.query_one(OptionList).highlighted
        if at is not None:
            order = self._items[at][2]
            self.dismiss(replace(order, descending=not order.descending))
