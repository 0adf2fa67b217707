"""The keys of the Faces screen."""

from textual.binding import Binding, BindingType

FACES_KEYS: list[BindingType] = [
    Binding("enter", "open", "Large", id="faces-open", tooltip="The face under the cursor, alone"),
    Binding("space", "mark", "Mark", id="faces-mark", tooltip="For d, C and m"),
    Binding("d", "trash", "Trash", id="faces-trash",
            tooltip="Move the marked faces, or the one under the cursor, to the trash"),
    Binding("u", "undo", "Undo", id="faces-undo", tooltip="Take back the last edit of this side"),
    Binding("o", "order", "Sort", id="faces-sort", tooltip="Every value, every method of DFL"),
    Binding("slash", "filter", "Filter", id="faces-filter",
            tooltip="yaw>20 sharp<0.3 name:0012 finding:blurred marked", priority=True),
    Binding("m", "edit_mask", "Masks", id="faces-edit-mask",
            tooltip="Edit polygons of the faces shown, from the one under the cursor on"),
    Binding("e", "extract", "Extract", id="faces-extract", tooltip="Faces from video or frames"),
    Binding("c", "check", "Check", id="faces-check", tooltip="Score every face, with reasons"),
    Binding("p", "prune", "Prune", id="faces-prune", tooltip="What the check proposes to drop"),
    Binding("P", "poses", "Poses", id="faces-poses", tooltip="Map of poses: what the source lacks"),
    Binding("x", "stop", "Stop", id="faces-stop", tooltip="End the running job of this side"),
    Binding("A", "auto_mask", "Mask all", id="faces-auto-mask",
            tooltip="Automatic mask for all faces; apply or remove masks"),
    Binding("tab", "side(1)", "Other side", id="faces-side", tooltip="Source or destination"),
    Binding("O", "reverse", "Other direction", show=False, id="faces-reverse"),
    Binding("ctrl+r,U", "redo", "Redo", show=False, id="faces-redo"),
    Binding("V", "range", "Mark a range", show=False, id="faces-range",
            tooltip="Again at its other end; space does, too"),
    Binding("a", "mark_all", "Mark all shown", show=False, id="faces-mark-all"),
    Binding("i", "invert", "Invert marks", show=False, id="faces-invert"),
    Binding("n", "mark_none", "Unmark all", show=False, id="faces-mark-none"),
    Binding("T", "trashed", "What is in the trash", show=False, id="faces-trashed",
            tooltip="Bring faces back"),
    Binding("C", "compare", "Compare two faces", show=False, id="faces-compare",
            tooltip="The two marked ones, or a marked one and the one under the cursor"),
    Binding("b", "both", "Both sides", show=False, id="faces-both", tooltip="Side by side"),
    Binding("D", "detail", "Face beside the grid", show=False, id="faces-detail"),
    Binding("L", "overlay('landmarks')", "Landmarks", show=False, id="faces-landmarks"),
    Binding("M", "overlay('masks')", "Mask outlines", show=False, id="faces-masks",
            tooltip="White: hull, yellow: XSeg mask, green and red: polygons"),
    Binding("f", "frame", "Frame it is from", show=False, id="faces-frame",
            tooltip="With the face's place in it"),
    Binding("exclamation_mark", "damaged", "Damaged files", show=False, id="faces-damaged"),
    Binding("R", "rename", "Rename in this order", show=False, id="faces-rename",
            tooltip="00000.jpg, 00001.jpg, … as DeepFaceLab's sorting does; can be undone"),
    Binding("r", "refresh", "Read again", show=False, id="faces-refresh"),
    Binding("shift+tab", "side(-1)", "Other side", show=False, id="faces-side-back"),
    Binding("escape", "back", "Clear filter and marks", show=False, id="faces-back"),
]  # fmt: skip

FIRST_KEYS = frozenset(
    binding.id
    for binding in FACES_KEYS
    if isinstance(binding, Binding) and binding.id and binding.show and binding.id != "faces-side"
)
"""The key bar shows them before tab, which every screen has."""
