"""What all four models share: networks, optimizers, precision, the guarded update, checkpoints."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recaster_tui.errors import BadInputError, DamagedError
from recaster_tui.nets.layers import build
from recaster_tui.options import ModelClass, TrainingOptions, changed, live_problem
from recaster_tui.training.failures import TornUpdateError, is_out_of_memory
from recaster_tui.training.models.base import Batch, DataNeeds, PreviewView, StepResult
from recaster_tui.training.models.pieces import rows_in_order, samples, split
from recaster_tui.training.optimizers import KINDS, DflOptimizer, global_norm

COSINE_PERIOD = 500
"""Iterations of the learning rate's cosine while learning rate dropout is on (1.6)."""

MODEL_GENERATOR = "model/generator"


@dataclass(frozen=True)
class Objective:
    """What one update minimises.

    Attributes:
        total: (B,) per-sample value; its *sum* is differentiated (quirk 16).
        shown: (B, n) the losses that are reported; not part of discriminator objectives.
    """

    total: Tensor
    shown: Tensor | None = None


@dataclass
class Gathered:
    """One objective over a whole batch: gradients by parameter, and sum and rows of its losses."""

    gradients: dict[str, Tensor]
    total: Tensor
    shown: list[Tensor]


@dataclass(frozen=True)
class Rule:
    """How the networks of one optimizer are updated."""

    kind: str
    learning_rate: float
    dropout: bool = False
    cosine: bool = False
    clip: bool = False
    offload: bool = False

    def apply(self, optimizer: DflOptimizer) -> None:
        """Take over what may change while training."""
        optimizer.learning_rate = self.learning_rate
        optimizer.dropout = self.dropout
        optimizer.cosine_period = COSINE_PERIOD if self.cosine else 0
        optimizer.clip_norm = 1.0 if self.clip else 0.0


def bfloat16_pays(device: torch.device) -> bool:
    """Whether the device computes bfloat16 in hardware."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    if device.type == "cpu":
        try:
            text = Path("/proc/cpuinfo").read_text()
        except OSError:
            return False
        # Not avx512_bf16: measured, its convolutions take 1.6 times as long as float32's.
        return "amx_bf16" in text
    return False


def as_input(x: Tensor) -> Tensor:
    """The memory layout convolutions want."""
    return x.contiguous(memory_format=torch.channels_last)


def _in_channels_last(net: nn.Module) -> nn.Module:
    """Lay out convolution weights so that their gradients come in the same layout, uncopied."""
    for parameter in net.parameters():
        if parameter.ndim == 4:
            parameter.data = as_input(parameter.data)
    return net


class Model(ABC):
    """Base of the four model classes; see :class:`TrainableModel` for the contract.

    Subclasses make their networks in :meth:`_make`, name the parameters of each optimizer in
    :meth:`trainable` and say what is minimised in :meth:`objective` and :meth:`contests`.

    Attributes:
        options: as given, with live changes.
        networks: by the original's names (``encoder``, ``inter_AB``, ``D_src``, …).
        optimizers: by the original's names (``src_dst_opt``, ``D_code_opt``, ``GAN_opt``, ``opt``).
        pieces: parts in which each batch is worked through, so that it fits into memory. Doubled
            whenever memory runs out; the gradient stays that of the whole batch.
        slowdown: of a fixed learning rate, after a rollback: :meth:`slow_down`.
    """

    model_class: ModelClass
    loss_names: tuple[str, ...] = ("src", "dst")
    main_optimizer = "src_dst_opt"
    slowdown = 1.0

    def __init__(self, options: TrainingOptions, device: torch.device, *, seed: int) -> None:
        self.options = options
        self.device = device
        self.pieces = 1
        self.networks: dict[str, nn.Module] = {}
        self.optimizers: dict[str, DflOptimizer] = {}
        self._seed = seed
        self._generator = torch.Generator(device=device).manual_seed(seed)
        self._parameters: dict[str, nn.Parameter] = {}
        self._makers: dict[str, Callable[[], Mapping[str, nn.Module]]] = {}
        # Discriminators that a checkpoint holds but the options do not ask for: kept as they are.
        self._parked: dict[str, dict[str, Tensor]] = {"weights": {}, "optimizer": {}}
        precision = options.precision
        self.bfloat16 = precision == "bfloat16" or (precision == "auto" and bfloat16_pays(device))
        self.needs = self._needs()

    # -- to be filled in --------------------------------------------------------------------

    @abstractmethod
    def _needs(self) -> DataNeeds:
        """What batches the present options ask for."""

    @abstractmethod
    def _apply_options(self) -> None:
        """Bring networks and optimizers in line with ``self.options``."""

    @abstractmethod
    def trainable(self, optimizer: str) -> list[str]:
        """Names (``network/parameter``) of the parameters that *optimizer* updates now."""

    @abstractmethod
    def objective(self, batch: Batch) -> Objective:
        """Forward pass of the main networks."""

    def contests(self, batch: Batch) -> dict[str, Objective]:
        """Objectives of the discriminators, by optimizer, for the present main weights."""
        return {}

    @abstractmethod
    def preview(self, batch: Batch, samples: int) -> list[PreviewView]:
        """See :class:`TrainableModel`."""

    # -- construction -----------------------------------------------------------------------

    def _add_networks(
        self, make: Callable[[], Mapping[str, nn.Module]], optimizer: str, rule: Rule
    ) -> None:
        """Create networks and their optimizer; weights depend on the seed and the names only."""
        tag = sum(map(ord, optimizer))
        self._makers[optimizer] = make
        nets = self._fresh(optimizer)
        parameters: dict[str, Tensor] = {}
        for name, net in nets.items():
            self.networks[name] = _in_channels_last(net.to(self.device))
            for key, parameter in net.named_parameters():
                self._parameters[f"{name}/{key}"] = parameter
                parameters[f"{name}/{key}"] = parameter
        self.optimizers[optimizer] = KINDS[rule.kind](
            parameters, learning_rate=0.0, seed=self._seed + tag + 1, offload=rule.offload
        )
        rule.apply(self.optimizers[optimizer])
        self._unpark(optimizer, list(nets))

    def _fresh(self, optimizer: str) -> nn.ModuleDict:
        """The networks of an optimizer as they begin, on the host."""
        make = self._makers[optimizer]
        start = torch.Generator().manual_seed(self._seed + sum(map(ord, optimizer)))
        return build(lambda: nn.ModuleDict(make()), start)

    # -- training ---------------------------------------------------------------------------

    @property
    def iteration(self) -> int:
        """Updates made to the main networks."""
        return self.optimizers[self.main_optimizer].iterations

    def wants_batch(self) -> bool:
        """Whether the next :meth:`train_step` uses the batch it is given."""
        return True

    def autocast(self) -> AbstractContextManager[Any]:
        """Where networks run; losses are outside, in float32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)

    @contextmanager
    def fixed_random(self, seed: int) -> Iterator[None]:
        """Within, the model draws the same numbers each time; training's own go on after it."""
        kept = self._generator.get_state()
        self._generator.manual_seed(seed)
        try:
            yield
        finally:
            self._generator.set_state(kept)

    def train_step(self, batch: Batch) -> StepResult:
        """One whole iteration: main networks, then the discriminators on the new weights.

        Raises:
            TornUpdateError: memory ran out while weights were being changed.
        """
        main = self.main_optimizer
        gathered = self._gather(batch, lambda part: {main: self.objective(part)})[main]
        shown = rows_in_order(gathered.shown, batch, joint=self.needs.segmented)
        finite = self._update(main, gathered)
        if finite:
            for optimizer, contest in self._gather(batch, self.contests).items():
                finite = self._update(optimizer, contest) and finite
        return StepResult(shown.mean(0), shown, torch.tensor(finite))

    def slow_down(self, factor: float) -> float:
        """Train at *factor* times the rate that the class fixes; returns the main one's rate.

        For classes without a ``learning_rate`` option; those with one are told by that.
        """
        for optimizer in self.optimizers.values():
            optimizer.learning_rate *= factor / self.slowdown
        self.slowdown = factor
        return self.optimizers[self.main_optimizer].learning_rate

    def gradients(self, batch: Batch) -> dict[str, dict[str, Tensor]]:
        """Gradient of every optimizer's objective at the present weights, nothing updated."""
        main = self.main_optimizer
        found = self._gather(batch, lambda p: {main: self.objective(p), **self.contests(p)})
        return {name: each.gradients for name, each in found.items()}

    def _gather(
        self, batch: Batch, objectives: Callable[[Batch], Mapping[str, Objective]]
    ) -> dict[str, Gathered]:
        """Objectives and gradients over *batch*, again in smaller pieces while memory runs out."""
        while True:
            generator = self._generator.get_state()
            try:
                return self._gather_pieces(batch, objectives)
            except Exception as error:
                joint = self.needs.segmented
                if not is_out_of_memory(error) or self.pieces >= samples(batch, joint=joint):
                    raise
            # Here, not above: the exception held on to the tensors of the attempt.
            self.pieces *= 2
            self._generator.set_state(generator)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _gather_pieces(
        self, batch: Batch, objectives: Callable[[Batch], Mapping[str, Objective]]
    ) -> dict[str, Gathered]:
        found: dict[str, Gathered] = {}
        for part in split(batch, self.pieces, joint=self.needs.segmented):
            for name, objective in objectives(part).items():
                gradients = self._gradient(name, objective)
                total, shown = objective.total.detach().sum(), objective.shown
                rows = [] if shown is None else [shown.detach()]
                if (sofar := found.get(name)) is None:
                    found[name] = Gathered(gradients, total, rows)
                else:
                    torch._foreach_add_(list(sofar.gradients.values()), list(gradients.values()))
                    sofar.total = sofar.total + total
                    sofar.shown += rows
        return found

    def _gradient(self, optimizer: str, objective: Objective) -> dict[str, Tensor]:
        names = self.trainable(optimizer)
        found = torch.autograd.grad(objective.total.sum(), [self._parameters[n] for n in names])
        return dict(zip(names, found, strict=True))

    def _update(self, optimizer: str, gathered: Gathered) -> bool:
        """Step *optimizer* unless a loss or gradient is not finite; one read of the device."""
        both = torch.stack((global_norm(gathered.gradients.values()), gathered.total))
        norm, loss = both.tolist()
        if not (math.isfinite(norm) and math.isfinite(loss)):
            return False
        try:
            self.optimizers[optimizer].step(gathered.gradients, norm)
        except Exception as error:
            if is_out_of_memory(error):
                raise TornUpdateError(str(error)) from error
            raise
        return True

    def set_option(self, key: str, value: Any) -> None:
        """Change a live option from the next iteration on.

        Raises:
            BadInputError: the option is unknown, cannot change while training, or the value is bad.
        """
        problem = live_problem(self.options, key, value)
        if problem:
            raise BadInputError(problem)
        self.options = changed(self.options, {key: value})
        self.needs = self._needs()
        self._apply_options()

    @contextmanager
    def away(self) -> Iterator[None]:
        """See :class:`TrainableModel`."""
        if self.device.type == "cpu":
            yield
            return
        try:
            self._move(torch.device("cpu"))
            yield
        finally:
            self._move(self.device)

    def _move(self, device: torch.device) -> None:
        for net in self.networks.values():
            net.to(device)  # the parameters stay the same objects
        for optimizer in self.optimizers.values():
            optimizer.move(device)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    # -- checkpoint -------------------------------------------------------------------------

    def state(self) -> dict[str, dict[str, Tensor]]:
        """``{"weights": {"encoder/…": …}, "optimizer": {"src_dst_opt/ms/encoder/…": …}}``."""
        weights = {name: p.detach() for name, p in self._parameters.items()}
        optimizer = {
            f"{name}/{key}": tensor
            for name, each in self.optimizers.items()
            for key, tensor in each.state().items()
        }
        optimizer[MODEL_GENERATOR] = self._generator.get_state()
        return {
            "weights": self._parked["weights"] | weights,
            "optimizer": self._parked["optimizer"] | optimizer,
        }

    def load_state(self, weights: Mapping[str, Tensor], optimizer: Mapping[str, Tensor]) -> None:
        """Take over :meth:`state`; discriminators that are missing or resized start afresh.

        Raises:
            DamagedError: a weight of the main networks is missing or has another shape; nothing
                has been changed then.
        """
        for name in self.trainable_ever(self.main_optimizer):
            given, own = weights.get(name), self._parameters[name]
            if given is None or given.shape != own.shape:
                found = "missing" if given is None else f"of shape {tuple(given.shape)}"
                raise DamagedError(
                    f"weight {name} is {found}, the options ask for {tuple(own.shape)}",
                    hint="the model was saved with other dimensions, or its files are damaged",
                )
        self._parked = {
            "weights": {k: v.clone() for k, v in weights.items()},
            "optimizer": {k: v.clone() for k, v in optimizer.items() if k != MODEL_GENERATOR},
        }
        for name in self.optimizers:
            nets = {key.split("/", 1)[0] for key in self.trainable_ever(name)}
            if not self._unpark(name, sorted(nets)):
                # What went wrong may be in them: they must not stay as they are.
                self._start_afresh(name)
        saved = optimizer.get(MODEL_GENERATOR)
        if saved is not None and saved.shape == self._generator.get_state().shape:
            self._generator.set_state(saved.cpu())

    def trainable_ever(self, optimizer: str) -> list[str]:
        """Names of all parameters that *optimizer* holds, frozen ones included."""
        return self.optimizers[optimizer].names

    def _start_afresh(self, optimizer: str) -> None:
        with torch.no_grad():
            for name, net in self._fresh(optimizer).items():
                for key, parameter in net.named_parameters():
                    self._parameters[f"{name}/{key}"].copy_(parameter)
        self.optimizers[optimizer].load_state({})

    def _unpark(self, optimizer: str, networks: list[str]) -> bool:
        """Move what is parked for these networks into them, if it is complete; whether it was."""
        prefixes = tuple(f"{name}/" for name in networks)
        kept = self._parked["weights"]
        given = {k: v for k, v in kept.items() if k.startswith(prefixes)}
        own = {k: p for k, p in self._parameters.items() if k.startswith(prefixes)}
        fits = all(k in given and given[k].shape == p.shape for k, p in own.items())
        state = {
            k.removeprefix(f"{optimizer}/"): v
            for k, v in self._parked["optimizer"].items()
            if k.startswith(f"{optimizer}/")
        }
        if fits:
            with torch.no_grad():
                for name, parameter in own.items():
                    parameter.copy_(given[name])
            self.optimizers[optimizer].load_state(state)
        for key in given:
            del kept[key]
        for key in state:
            del self._parked["optimizer"][f"{optimizer}/{key}"]
        return fits
