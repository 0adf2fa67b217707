"""The commands and their parameters. Bodies import late; see :mod:`recaster_tui.cli`."""

import difflib
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Group, Parameter

from recaster_tui import __version__
from recaster_tui.cli import extract as extract_commands
from recaster_tui.cli import faces_check, faces_mask, faces_tools
from recaster_tui.cli.documented import documented
from recaster_tui.cli.faces import faces_app
from recaster_tui.cli.history import runs_app
from recaster_tui.cli.model import model_app
from recaster_tui.cli.queue import queue_app
from recaster_tui.cli.snapshot import snapshot_app
from recaster_tui.errors import BadInputError, EnvironmentProblem

FACES = Group("Faces", sort_key=1)
TRAINING = Group("Training", sort_key=2)
RUNS = Group("Runs", sort_key=3)
MORE = Group("More", sort_key=4)

Images = Literal["auto", "half", "sixel", "kitty", "off"]
Model = Literal["saehd", "amp", "quick96", "xseg"]
Assignments = Annotated[tuple[str, ...], Parameter(name="--set", negative="", show_default=False)]
Json = Annotated[bool, Parameter(name="--json", negative="", show_default=False)]
Flag = Parameter(negative="", show_default=False)

app = App(
    name="recaster",
    help="Train face-replacement models in your terminal. Works over SSH.",
    version=__version__,
    help_format="plaintext",
)
app["--help"].group = app["--version"].group = MORE


@app.default
@documented
def open_app(
    workspace: Path | None = None,
    /,
    *,
    theme: str | None = None,
    images: Images = "auto",
    probe: bool = True,
    mouse: bool = True,
) -> int:
    """Open the app.

    Parameters
    ----------
    workspace
        Project folder (data_src/aligned, data_dst/aligned, model). Without it, the Project screen
        shows the current folder or the workspace opened last.
    theme
        Colour theme for this time.
    images
        How pictures are drawn.
    probe
        Ask the terminal what it can show.
    mouse
        Let the app use the mouse.
    """
    if workspace is not None and not workspace.exists():
        near = difflib.get_close_matches(str(workspace), COMMANDS, n=1)
        if near or len(workspace.parts) == 1:  # no path: a command was meant, or may have been
            guess = f"did you mean: recaster {near[0]}? " if near else ""
            raise BadInputError(
                f"there is no command or folder called '{workspace}'",
                hint=f"{guess}All commands: recaster --help; "
                f"a synthetic workspace to try things on: recaster demo {workspace}",
            )
    from recaster_tui.cli.screen import open_screen

    return open_screen(workspace, theme=theme, images=images, probe=probe, mouse=mouse)


@app.command(group=TRAINING)
@documented
def demo(
    folder: Path = Path("recaster-demo"),
    /,
    *,
    headless: Annotated[bool, Flag] = False,
    train: bool = True,
    seed: int | None = None,
    faces: int | None = None,
    iterations: int = 0,
    theme: str | None = None,
    images: Images = "auto",
    probe: bool = True,
    mouse: bool = True,
) -> int:
    """Make a workspace of two synthetic people, open the app and train on it.

    Parameters
    ----------
    folder
        Where to make it; one that is already there is opened.
    headless
        Train without the screen, with one progress line.
    train
        Train; --no-train only makes the workspace.
    seed
        The same number makes the same people; 1 where it is left out.
    faces
        Faces of each person; 300 where it is left out.
    iterations
        Stop when the model has this many iterations; 0 goes on.
    theme
        Colour theme for this time.
    images
        How pictures are drawn.
    probe
        Ask the terminal what it can show.
    mouse
        Let the app use the mouse.
    """
    from recaster_tui.cli.training import make_demo_workspace, train_demo

    if train and not headless:
        from recaster_tui.cli.screen import require_screen

        require_screen()
    workspace = make_demo_workspace(folder, seed=seed, faces=faces)
    if not train:
        return 0
    if headless:
        return train_demo(workspace, iterations=iterations)
    from recaster_tui.cli.screen import open_screen
    from recaster_tui.cli.training import demo_request

    return open_screen(
        workspace.root,
        theme=theme,
        images=images,
        probe=probe,
        mouse=mouse,
        autostart=demo_request(iterations),
    )


@app.command(group=TRAINING)
@documented
def train(
    workspace: Path,
    /,
    *,
    config: str,
    set_: Assignments = (),
    name: str | None = None,
    iterations: int | None = None,
    seconds: float = 0.0,
    device: str = "auto",
    detach: Annotated[bool, Flag] = False,
    json: Json = False,
) -> int:
    """Train without the screen: one progress line until the target is reached.

    Ctrl-c stops and saves (exit code 130); a second ctrl-c leaves at once, and the trainer ends
    by itself after saving.

    Parameters
    ----------
    workspace
        Project folder.
    config
        Name of a shipped or own config (quick96, saehd-128 …) or a TOML file.
    set_
        Another value for one option, as KEY=VALUE; may be repeated.
    name
        Name of the model; the config's name where it is left out.
    iterations
        Stop when the model has this many iterations; 0 goes on.
    seconds
        Stop after training this long; 0 goes on.
    device
        auto, cpu, cuda, cuda:1 or mps.
    detach
        Start, say the run's id, and leave it running.
    json
        Write the journal's lines instead of progress.
    """
    from recaster_tui.cli.training import train_workspace

    return train_workspace(
        workspace,
        config=config,
        assignments=set_,
        name=name,
        iterations=iterations,
        seconds=seconds,
        device=device,
        detach=detach,
        as_json=json,
    )


@app.command(group=RUNS)
@documented
def attach(run: str = "last", /, *, json: Json = False) -> int:
    """Watch a run until it ends; ctrl-c leaves it running.

    Parameters
    ----------
    run
        Its id, the beginning or ending of one, its folder, or: last.
    json
        Write the journal's lines, from the first on.
    """
    from recaster_tui.cli.runs import attach_run

    return attach_run(run, as_json=json)


@app.command(group=RUNS)
@documented
def stop(
    run: str,
    /,
    *,
    save: bool = True,
    wait: bool = True,
    grace: float | None = None,
    force: Annotated[bool, Flag] = False,
) -> int:
    """Stop a run. A trainer that does not react is ended: SIGTERM, at last SIGKILL.

    Signals only ever go to the process of the recorded pid and start time.

    Parameters
    ----------
    run
        Its id, the beginning or ending of one, its folder, or: last.
    save
        Save the model first; --no-save gives up what came after the last save.
    wait
        Wait until it has ended; --no-wait only asks.
    grace
        Seconds it has to react to the command, and again to SIGTERM; 30 (or four of its
        iterations, if that is longer) where it is left out. One that reacts has all the time it
        needs to save.
    force
        Do not ask: SIGTERM at once (it still saves); with --no-save SIGKILL.
    """
    from recaster_tui.cli.runs import stop_run

    return stop_run(run, save=save, wait=wait, grace=grace, force=force)


@app.command(group=RUNS)
@documented
def pause(run: str, /) -> int:
    """Pause a run at its next iteration.

    Parameters
    ----------
    run
        Its id, the beginning or ending of one, its folder, or: last.
    """
    from recaster_tui.cli.runs import command_run

    return command_run(run, "pause")


@app.command(group=RUNS)
@documented
def resume(
    run: str,
    /,
    *,
    iterations: int | None = None,
    set_: Assignments = (),
    attach: Annotated[bool, Flag] = False,
) -> int:
    """Let a paused run go on, or start one that has ended again.

    With another target or other options an ended run goes on as a new run of the same model.

    Parameters
    ----------
    run
        Its id, the beginning or ending of one, its folder, or: last.
    iterations
        Stop when the model has this many iterations; 0 goes on.
    set_
        Another value for one option, as KEY=VALUE; may be repeated.
    attach
        Watch it.
    """
    from recaster_tui.cli.runs import resume_run

    return resume_run(run, iterations=iterations, assignments=set_, watch=attach)


@app.command(group=RUNS)
@documented
def save(run: str, /) -> int:
    """Save the model of a run now.

    Parameters
    ----------
    run
        Its id, the beginning or ending of one, its folder, or: last.
    """
    from recaster_tui.cli.runs import command_run

    return command_run(run, "save")


@app.command(group=RUNS)
@documented
def backup(run: str, /, *, note: str = "") -> int:
    """Keep a copy of the model of a run as it is now.

    Parameters
    ----------
    run
        Its id, the beginning or ending of one, its folder, or: last.
    note
        A few words to find it by.
    """
    from recaster_tui.cli.runs import command_run

    return command_run(run, "backup", note=note)


@app.command(group=MORE)
@documented
def options(model: Model, /, *, markdown: Annotated[bool, Flag] = False, json: Json = False) -> int:
    """Every option of a model with its default, range and help.

    Parameters
    ----------
    model
        Model class.
    markdown
        As Markdown tables.
    json
        As JSON.
    """
    from recaster_tui.cli.options import show_options

    return show_options(model, markdown=markdown, as_json=json)


@app.command(group=MORE)
@documented
def doctor(*, json: Json = False) -> int:
    """What this machine has, what is missing, how to mend it.

    Parameters
    ----------
    json
        As JSON.
    """
    from recaster_tui.cli.doctor import examine

    return examine(as_json=json)


@app.command(group=MORE, show=find_spec("recaster_tui.bench") is not None)
@documented
def bench(what: str, /, *, rounds: int | None = None, json: Json = False) -> int:
    """Measure this program against its budgets.

    Parameters
    ----------
    what
        What to measure.
    rounds
        How often, where a benchmark counts rounds (faults: 500 kills).
    json
        As JSON.
    """
    if find_spec("recaster_tui.bench") is None:
        raise EnvironmentProblem("this installation has no benchmarks")
    from importlib import import_module

    result: int = import_module("recaster_tui.bench").main(what, as_json=json, rounds=rounds)
    return result


model_app.group = MORE
runs_app.group = snapshot_app.group = queue_app.group = RUNS
app.command(runs_app)
app.command(snapshot_app)
app.command(queue_app)
app.command(model_app)
faces_app.group = FACES
app.command(faces_app)
for commands in (faces_check, faces_mask, faces_tools):
    commands.register(faces_app)
extract_commands.register(app, FACES)

COMMANDS = tuple(name for name in app if not name.startswith("-"))
