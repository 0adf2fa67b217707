"""The options of a model class as a table: for ``recaster options MODEL`` and the manual."""

import json
import textwrap
from collections.abc import Iterable
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Any

from recaster_tui.options.model_class import ModelClass
from recaster_tui.options.spec import OptionSpec, show
from recaster_tui.options.validation import specs

if TYPE_CHECKING:
    from rich.table import Table


def as_json(model: ModelClass | str) -> str:
    """Every fact of every option, as a JSON object with ``model`` and ``options``."""
    model = ModelClass(model)
    rows = [_json_row(spec) for spec in specs(model)]
    return json.dumps({"model": model.value, "options": rows}, indent=2, ensure_ascii=False)


def _json_row(spec: OptionSpec) -> dict[str, Any]:
    row = asdict(spec)
    row["choices"] = list(spec.choices)
    row["range"] = spec.range_text
    row["shown_when"] = spec.shown_when.describe() if spec.shown_when else None
    return row


def as_plain(model: ModelClass | str, width: int = 100) -> str:
    """Text for a pipe: one block for each option, under a heading for each group."""
    lines: list[str] = []
    for group, rows in groupby(specs(model), key=lambda spec: spec.group):
        lines += ["", group.upper()]
        for spec in rows:
            head = f"  {spec.key} = {show(spec.default)}"
            lines.append(f"{head:<38}  {spec.range_text}".rstrip())
            notes = [spec.help, f"Recommended: {spec.recommended}.", *_notes(spec)]
            lines += textwrap.wrap(
                " ".join(notes), width, initial_indent=" " * 6, subsequent_indent=" " * 6
            )
    return "\n".join(lines[1:]) + "\n"


def as_markdown(model: ModelClass | str) -> str:
    """A table for each group."""
    model = ModelClass(model)
    lines = [f"## {model.title}"]
    for group, rows in groupby(specs(model), key=lambda spec: spec.group):
        lines += ["", f"### {group}", ""]
        lines += [
            "| option | default | range | what it does | recommended | DFL |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for spec in rows:
            text = " ".join([spec.help, *_notes(spec)])
            cells = [
                f"`{spec.key}`",
                show(spec.default),
                spec.range_text,
                text,
                spec.recommended,
                f"`{spec.dfl}`" if spec.dfl else "–",
            ]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def as_table(model: ModelClass | str) -> "Table":
    """A rich table for a terminal (rich is imported here, and only here)."""
    from rich.table import Table

    table = Table(title=f"Options of {ModelClass(model).title}", title_justify="left")
    table.add_column("option", no_wrap=True, style="bold")
    table.add_column("default", no_wrap=True)
    table.add_column("range")
    table.add_column("what it does", ratio=1)
    for spec in specs(model):
        text = " ".join([spec.help, f"Recommended: {spec.recommended}.", *_notes(spec)])
        table.add_row(spec.key, show(spec.default), _short_range(spec), text)
    return table


def _short_range(spec: OptionSpec) -> str:
    return "df or liae, -udtc" if spec.kind == "text" else spec.range_text


def _notes(spec: OptionSpec) -> Iterable[str]:
    """Sentences about when the option can be changed and when it matters."""
    if spec.locked:
        yield "Fixed once the model exists."
    elif spec.live:
        yield "May change while training."
    if spec.shown_when:
        yield f"Matters when {spec.shown_when.describe()}."
