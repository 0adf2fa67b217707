"""``recaster train`` and ``recaster demo``."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from recaster_tui.cli.watch import first_word, in_supervisor, make_view, outcome, watch
from recaster_tui.errors import BadInputError
from recaster_tui.options import ModelClass, OptionsError, parse_assignment
from recaster_tui.options.config import find_config
from recaster_tui.supervisor import Run, RunRequest, Supervisor, default_model_name
from recaster_tui.workspace import Workspace, open_workspace, stored_options

DEMO_CONFIG = "demo"
DEMO_SEED = 1
DEMO_FACES = 300

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


def train_workspace(
    folder: Path,
    *,
    config: str,
    assignments: Sequence[str] = (),
    name: str | None = None,
    iterations: int | None = None,
    seconds: float = 0.0,
    device: str = "auto",
    detach: bool = False,
    as_json: bool = False,
) -> int:
    """Train as a config says; see the command's help.

    Raises:
        BadInputError: workspace, config, option or name cannot be used.
        RecasterError: the run failed; its exit code says how.
    """
    workspace = open_workspace(folder)
    request = make_request(
        workspace,
        config=config,
        assignments=assignments,
        name=name,
        iterations=iterations,
        seconds=seconds,
        device=device,
    )
    return _train(workspace, request, detach=detach, as_json=as_json)


def make_request(
    workspace: Workspace,
    *,
    config: str,
    assignments: Sequence[str] = (),
    name: str | None = None,
    iterations: int | None = None,
    seconds: float = 0.0,
    device: str = "auto",
) -> RunRequest:
    """What a config and more options ask for.

    Raises:
        BadInputError: config, option, name or device cannot be used.
    """
    check_device(device)
    likely = default_model_name(Path(config).name.removesuffix(".toml")) if name is None else name

    def trusted(kind: ModelClass) -> dict[str, object]:
        return stored_options(workspace.models / f"{likely}.{kind.value}")

    found = find_config(config, trusted=trusted)
    options = found.options.model_dump(mode="json") | assigned(found.model, assignments)
    return RunRequest(
        found.model,
        options,
        model_name=default_model_name(found.name) if name is None else name,
        device=device,
        target_iterations=iterations,
        target_seconds=seconds,
    )


def check_device(name: str) -> None:
    """Refuse what is no device's name before anything is made. Raises BadInputError."""
    if not _DEVICE.fullmatch(name):
        raise BadInputError(
            f"'{name}' is no device", hint="there is auto, cpu, cuda, cuda:1 and so on, or mps"
        )


def assigned(model: ModelClass, assignments: Sequence[str]) -> dict[str, object]:
    """``--set`` values by key. Raises OptionsError."""
    try:
        return dict(parse_assignment(model, text) for text in assignments)
    except OptionsError as error:
        error.hint = error.hint or f"see: recaster options {model.value}"
        raise


def make_demo_workspace(folder: Path, *, seed: int | None, faces: int | None) -> Workspace:
    """Make the synthetic workspace, with a progress bar on stderr where that is a terminal.

    A demo that is there already is taken as it is, where nothing else is asked for.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from recaster_tui.demo import DemoProgress, make_demo
    from recaster_tui.demo.plan import read_marker

    there = read_marker(folder.expanduser())
    if there is not None:
        seed = there[0].seed if seed is None else seed
        faces = there[0].faces if faces is None else faces
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as bars:
        tasks = {}

        def report(step: DemoProgress) -> None:
            if step.stage not in tasks:
                tasks[step.stage] = bars.add_task(step.text, total=step.total)
            bars.update(
                tasks[step.stage],
                description=step.text,
                completed=step.current,
                total=step.total,
            )

        return make_demo(
            folder,
            seed=DEMO_SEED if seed is None else seed,
            faces=DEMO_FACES if faces is None else faces,
            progress=report,
        )


def demo_request(iterations: int) -> RunRequest:
    """What the demo trains."""
    config = find_config(DEMO_CONFIG)
    return RunRequest(
        config.model,
        config.options.model_dump(mode="json"),
        model_name=DEMO_CONFIG,
        target_iterations=iterations,
    )


def train_demo(workspace: Workspace, *, iterations: int) -> int:
    """Train the demo without the screen."""
    return _train(workspace, demo_request(iterations))


def _train(
    workspace: Workspace, request: RunRequest, *, detach: bool = False, as_json: bool = False
) -> int:
    async def action(supervisor: Supervisor) -> int:
        run = await supervisor.start(workspace, request)
        if detach:
            return await _detach(run)
        if not as_json:
            sys.stderr.write(f"run {run.run_id}, model {run.spec.model_folder}\n")
        return await watch(run, make_view(run, as_json=as_json), interrupt_stops=True)

    return in_supervisor(action)


async def _detach(run: Run) -> int:
    await first_word(run)
    if run.state.over and run.error:
        return outcome(run)
    sys.stdout.write(f"{run.run_id}\n")
    sys.stderr.write(f"running; watch it with: recaster attach {run.run_id}\n")
    return 0
