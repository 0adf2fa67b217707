"""``recaster queue``: the commands and their parameters; bodies import late."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from recaster_tui.cli.documented import documented

Assignments = Annotated[tuple[str, ...], Parameter(name="--set", negative="", show_default=False)]
Json = Annotated[bool, Parameter(name="--json", negative="", show_default=False)]

queue_app = App(
    name="queue",
    help="Runs that wait for their turn: a few at a time on each device, whether or not the app is "
    "open. Without a command: list.",
)


@queue_app.default
@documented
def list_(*, json: Json = False) -> int:
    """List what runs, what waits in order, and what has ended.

    Parameters
    ----------
    json
        As JSON: entries, slots of each device, whether it is paused, problems.
    """
    from recaster_tui.cli.queue_run import list_all

    return list_all(as_json=json)


queue_app.command(list_, name="list")


@queue_app.command
@documented
def add(
    workspace: Path,
    /,
    *,
    config: str,
    set_: Assignments = (),
    name: str | None = None,
    iterations: int | None = None,
    seconds: float = 0.0,
    device: str = "auto",
    json: Json = False,
) -> int:
    """Put a run at the end. It needs a target, or those behind it would wait for ever.

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
        Stop when the model has this many iterations.
    seconds
        Stop after training this long.
    device
        auto, cpu, cuda, cuda:1 or mps.
    json
        As JSON.
    """
    from recaster_tui.cli.queue_run import add_one

    return add_one(
        workspace,
        config=config,
        assignments=set_,
        name=name,
        iterations=iterations,
        seconds=seconds,
        device=device,
        as_json=json,
    )


@queue_app.command
@documented
def move(entry: str, position: int, /) -> int:
    """Give a waiting run another place.

    Parameters
    ----------
    entry
        Its position, model name, run id, or the beginning or ending of its own id.
    position
        Where it shall stand: 1 is next.
    """
    from recaster_tui.cli.queue_run import move_one

    return move_one(entry, position)


@queue_app.command
@documented
def remove(entry: str, /) -> int:
    """Take a run off the list; where it runs already, it goes on by itself.

    Parameters
    ----------
    entry
        Its position, model name, run id, or the beginning or ending of its own id.
    """
    from recaster_tui.cli.queue_run import remove_one

    return remove_one(entry)


@queue_app.command
@documented
def start(entry: str, /) -> int:
    """Start a waiting run now, whatever runs on its device.

    Parameters
    ----------
    entry
        Its position, model name, or the beginning or ending of its id.
    """
    from recaster_tui.cli.queue_run import start_one

    return start_one(entry)


@queue_app.command
@documented
def again(entry: str, /) -> int:
    """Let a run that failed or was stopped wait again; it goes on from its last save.

    Parameters
    ----------
    entry
        Its model name, run id, or the beginning or ending of its own id.
    """
    from recaster_tui.cli.queue_run import again_one

    return again_one(entry)


@queue_app.command
@documented
def slots(device: str | None = None, count: int | None = None, /, *, json: Json = False) -> int:
    """Show or set how many runs a device takes at once.

    Parameters
    ----------
    device
        cpu, cuda:0, mps …; auto is the one that it stands for here.
    count
        How many, 1 to 16.
    json
        As JSON.
    """
    from recaster_tui.cli.queue_run import show_slots

    return show_slots(device, count, as_json=json)


@queue_app.command
@documented
def pause() -> int:
    """Start nothing new. What runs is not touched."""
    from recaster_tui.cli.queue_run import set_pause

    return set_pause(True)


@queue_app.command
@documented
def resume() -> int:
    """Go on after a pause of the queue."""
    from recaster_tui.cli.queue_run import set_pause

    return set_pause(False)


@queue_app.command
@documented
def clear() -> int:
    """Take everything that has ended off the list. Runs and models are not touched."""
    from recaster_tui.cli.queue_run import clear_all

    return clear_all()


@queue_app.command(show=False)
@documented
def keep(*, data: Path | None = None) -> int:
    """Work the queue off until nothing waits; app and commands start this by themselves.

    Parameters
    ----------
    data
        Folder of the queue and the history.
    """
    from recaster_tui.cli.queue_run import keep_queue

    return keep_queue(data)
