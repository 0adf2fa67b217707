"""Faults put into a real trainer on purpose, by the iteration at which they happen.

The environment variable ``RECASTER_FAULTS`` of :mod:`recaster_tui.bench.faults.trainer` holds a
JSON object; each key is a kind of fault, its value says when (and what). Iterations are those of
the loop: *n* is hit just before iteration *n* is trained, once, unless ``"again": true`` (then
each time that the loop comes to *n*, for example after a rollback).

``{"nan": n}``            a weight becomes NaN, as after a number that overflowed
``{"spike": n}``          the losses are ten times what they are, from *n* until a rollback
``{"black": n}``          the output layers die: every picture is black and stays so (XSeg: the
                          mask is empty); no gradient comes back through them
``{"oom": n}``            memory runs out in the forward pass
``{"oom-update": n}``     memory runs out while the weights are being changed
``{"clock": [n, s]}``     the clock jumps by *s* seconds (negative: back); n = 0: before the start

**More kinds.** Write a function in a module of this package, decorate it with :func:`kind`, and
name the module in :data:`MODULES`::

    @kind("stop_at_syscall")
    def _stop(faults: Faults, value: Any) -> None: ...

It is called once, in the trainer's process, before the journal is opened and before torch is
imported, with the value from the JSON; raise ``ValueError`` for one that is no good. What needs
the loop says ``faults.at(n, action)`` or ``faults.between(n, enter, leave)``; an action is given a
:class:`Moment`.
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

from recaster_tui.errors import BadInputError

if TYPE_CHECKING:
    from recaster_tui.training.loop import Trainer
    from recaster_tui.training.models.base import Batch, StepResult, TrainableModel

VARIABLE = "RECASTER_FAULTS"
MODULES: tuple[str, ...] = ()
"""Modules that add kinds; imported before the JSON is read."""

SPIKE = 10.0
DEAD = -40.0
"""Before a sigmoid: its value and its slope are 4e-18."""


@dataclass(frozen=True)
class Moment:
    """What an action sees: the iteration that comes next, and who is about to train it."""

    iteration: int
    trainer: "Trainer"
    model: "TrainableModel"


Action: TypeAlias = Callable[[Moment], None]


@dataclass
class _Window:
    first: int
    enter: Action
    leave: Action | None
    inside: bool = False
    spent: bool = False


class Faults:
    """The faults of one trainer process."""

    def __init__(self, *, again: bool = False) -> None:
        self._again = again
        self._windows: list[_Window] = []

    def at(self, iteration: int, action: Action) -> None:
        """Do *action* just before *iteration* is trained."""
        self._windows.append(_Window(iteration, action, None))

    def between(self, first: int, enter: Action, leave: Action) -> None:
        """*enter* just before *first* is trained, *leave* when a rollback went to before it."""
        self._windows.append(_Window(first, enter, leave))

    def before(self, moment: Moment) -> None:
        """The loop is about to train ``moment.iteration``."""
        for window in self._windows:
            if window.inside and moment.iteration < window.first:
                window.inside = False
                if window.leave is not None:
                    window.leave(moment)
            if moment.iteration == window.first and not window.spent and not window.inside:
                window.inside = window.leave is not None
                window.spent = not self._again
                window.enter(moment)

    def attach(self) -> None:
        """Let every loop of this process ask; imports torch."""
        from recaster_tui.training.loop import Trainer

        iterate, faults = Trainer.iterate, self

        def faulty(self: Trainer) -> None:
            faults.before(Moment(self.iteration + 1, self, self.model))
            iterate(self)

        Trainer.iterate = faulty  # type: ignore[method-assign]


Kind: TypeAlias = Callable[[Faults, Any], None]
KINDS: dict[str, Kind] = {}


def kind(name: str) -> Callable[[Kind], Kind]:
    """Register a kind of fault under its name in the JSON."""

    def register(install: Kind) -> Kind:
        KINDS[name] = install
        return install

    return register


def from_environment(environment: Mapping[str, str] = os.environ) -> Faults:
    """Install what :data:`VARIABLE` asks for.

    Raises:
        BadInputError: not JSON, an unknown kind, or a value that the kind cannot use.
    """
    text = environment.get(VARIABLE, "").strip()
    for module in MODULES:
        import_module(module)
    try:
        wanted = json.loads(text or "{}")
        if not isinstance(wanted, dict):
            raise ValueError("an object is wanted")
    except ValueError as error:
        raise BadInputError(f"{VARIABLE} cannot be read: {error}", hint='{"nan": 200}') from error
    faults = Faults(again=bool(wanted.pop("again", False)))
    for name, value in wanted.items():
        install = KINDS.get(name)
        if install is None:
            raise BadInputError(
                f"{VARIABLE} asks for an unknown kind of fault {name!r}",
                hint="there are: " + ", ".join(sorted(KINDS)),
            )
        try:
            install(faults, value)
        except (TypeError, ValueError) as error:
            raise BadInputError(f"{VARIABLE}: {name} = {value!r}: {error}") from error
    return faults


@kind("nan")
def _nan(faults: Faults, value: Any) -> None:
    def poison(moment: Moment) -> None:
        import torch

        network = next(iter(moment.model.networks.values()))
        with torch.no_grad():
            parameter = next(network.parameters())
            parameter[(0,) * parameter.ndim] = float("nan")

    faults.at(int(value), poison)


@kind("black")
def _black(faults: Faults, value: Any) -> None:
    def kill(moment: Moment) -> None:
        import torch

        with torch.no_grad():
            for network in moment.model.networks.values():
                for name, parameter in network.named_parameters():
                    # Not out_convm, the mask of a face model.
                    layer = name.rsplit(".", 1)[0]
                    if layer.startswith("out_conv") and layer != "out_convm":
                        parameter.fill_(DEAD if name.endswith("bias") else 0.0)

    faults.at(int(value), kill)


@kind("spike")
def _spike(faults: Faults, value: Any) -> None:
    def louder(moment: Moment) -> None:
        from dataclasses import replace

        step = moment.model.train_step

        def scaled(batch: "Batch") -> "StepResult":
            result = step(batch)
            return replace(
                result, losses=SPIKE * result.losses, per_sample=SPIKE * result.per_sample
            )

        moment.model.train_step = scaled  # type: ignore[method-assign]

    def quiet(moment: Moment) -> None:
        del moment.model.train_step

    faults.between(int(value), louder, quiet)


@kind("oom")
def _out_of_memory(faults: Faults, value: Any) -> None:
    faults.at(int(value), lambda moment: _fail_once(moment.model, "objective"))


@kind("oom-update")
def _out_of_memory_in_the_update(faults: Faults, value: Any) -> None:
    def fail(moment: Moment) -> None:
        for optimizer in getattr(moment.model, "optimizers", {}).values():
            _fail_once(optimizer, "step")
            break

    faults.at(int(value), fail)


def _fail_once(owner: Any, method: str) -> None:
    def fail(*_: Any, **__: Any) -> None:
        delattr(owner, method)
        raise RuntimeError("out of memory (on purpose)")

    setattr(owner, method, fail)


@kind("clock")
def _clock(faults: Faults, value: Any) -> None:
    iteration, seconds = int(value[0]), float(value[1])
    clock = time.time

    def jump(_: Moment | None = None) -> None:
        time.time = lambda: clock() + seconds

    if iteration <= 0:
        jump()
    else:
        faults.at(iteration, jump)
