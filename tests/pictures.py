"""Pictures of every screen, from a real workspace: ``python -m tests.pictures WORKSPACE OUT``.

For looking at what was built, in each theme and size, and for the README. Each picture is an SVG
as Textual exports it and, where chromium or rsvg-convert is installed, a PNG beside it. The screen
``mask`` is the mask editor on the face that the Faces screen shows first, ``queue`` what waits;
keys before ``then`` are pressed ahead of it. ``wait`` among the keys waits a second.
"""

import argparse
import asyncio
import re
import shutil
import subprocess
from pathlib import Path

from recaster_tui.ui.app import RecasterApp
from recaster_tui.workspace import open_workspace

SIZES = {"80x24": (80, 24), "120x40": (120, 40), "200x60": (200, 60)}
THEMES = ("night", "day", "high-contrast", "colour-blind", "mono", "ansi")
SCREENS = ("train", "project", "faces", "mask", "runs", "queue")
_BEHIND = {"mask": ("faces", "m"), "queue": ("runs", "Q")}
"""Screens that a key opens from a mode: the mode and the key."""


async def _picture(
    workspace: Path, screen: str, size: tuple[int, int], theme: str, keys: list[str], out: Path
) -> Path:
    mode, opener = _BEHIND.get(screen, (screen, ""))
    app = RecasterApp(open_workspace(workspace), theme=theme, mode=mode)
    async with app.run_test(size=size) as pilot:
        for _ in range(40):  # datasets and previews are read in threads
            await pilot.pause(0.1)
        first = keys.index("then") if opener and "then" in keys else 0
        for key in [*keys[:first], *([opener, "wait", "wait"] if opener else []), *keys[first:]]:
            if key == "wait":
                await pilot.pause(1.0)
            elif key != "then":
                await pilot.press(key)
        await pilot.pause(1.0)
        out.write_text(app.export_screenshot(title=f"recaster {workspace.name}"))
    return _to_png(out)


def _to_png(svg: Path) -> Path:
    png = svg.with_suffix(".png")
    if shutil.which("chromium"):
        box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg.read_text())
        assert box is not None
        width, height = (round(float(n)) for n in box.groups())
        subprocess.run(
            [
                *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
                *("--hide-scrollbars", "--disable-background-networking", "--disable-sync"),
                *("--default-background-color=00000000", f"--window-size={width},{height}"),
                *(f"--screenshot={png}", f"file://{svg.resolve()}"),
            ],
            check=True,
            capture_output=True,
        )
    elif shutil.which("rsvg-convert"):
        subprocess.run(["rsvg-convert", "-o", str(png), str(svg)], check=True)
    return png if png.exists() else svg


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--screens", nargs="*", default=list(SCREENS))
    parser.add_argument("--themes", nargs="*", default=list(THEMES))
    parser.add_argument("--sizes", nargs="*", default=["120x40"])
    parser.add_argument("--keys", nargs="*", default=[], help="pressed before the picture")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for theme in args.themes:
        for size in args.sizes:
            for screen in args.screens:
                target = args.out / f"{screen}-{theme}-{size}.svg"
                made = asyncio.run(
                    _picture(args.workspace, screen, SIZES[size], theme, args.keys, target)
                )
                print(made)


if __name__ == "__main__":
    main()
