"""AdaBelief and RMSprop as the original defines them (dfl-models.md 1.6).

No bias correction, no weight decay, epsilon outside the root, gradients of the *sum* over the
batch, optional clipping by the norm of all gradients together, per-element "learning rate dropout"
and a periodic cosine of the learning rate.

On accelerators the update is a handful of ``torch._foreach`` calls over all tensors. On CPUs it
runs in slices that stay in the cache: the same arithmetic with a quarter of the memory traffic.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

EPSILON = 1e-6
"""``numpy.finfo(float32).resolution``, as in the original."""

KEEP_THRESHOLD = 77
"""Of 256: the original draws in float16, so its keep probability 0.3 is in effect 308/1024."""

_SLICE = 1 << 16

MaskSource = Callable[[str, Tensor], Tensor]
"""(parameter name, parameter) -> 0/1 tensor of its shape: replaces the random dropout mask."""


class DflOptimizer:
    """State and update rule of one group of parameters.

    Attributes:
        learning_rate: may be changed at any time.
        dropout: whether only a random 30.08 % of the elements are updated each step.
        cosine_period: iterations of the learning rate's cosine, 0 = constant.
        clip_norm: largest norm of all gradients together, 0 = no clipping.
        offload: keep the moments in main memory (slower, spares GPU memory).
        iterations: steps taken.
        mask_source: test hook for the dropout mask.
    """

    slots: tuple[str, ...] = ()

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        *,
        learning_rate: float,
        dropout: bool = False,
        cosine_period: int = 0,
        clip_norm: float = 0.0,
        seed: int = 0,
        offload: bool = False,
    ) -> None:
        self.learning_rate = learning_rate
        self.dropout = dropout
        self.cosine_period = cosine_period
        self.clip_norm = clip_norm
        self.offload = offload
        self.iterations = 0
        self.mask_source: MaskSource | None = None
        self._parameters = dict(parameters)
        device = next(iter(self._parameters.values())).device
        self._generator = torch.Generator(device=device).manual_seed(seed)
        self._moments: dict[str, dict[str, Tensor]] = {
            slot: {name: self._fresh(p) for name, p in self._parameters.items()}
            for slot in self.slots
        }

    @property
    def names(self) -> list[str]:
        """Of all parameters, in order."""
        return list(self._parameters)

    def _fresh(self, parameter: Tensor) -> Tensor:
        if self.offload and parameter.device.type != "cpu":
            pin = parameter.device.type == "cuda"
            return torch.zeros_like(parameter, device="cpu", pin_memory=pin)
        return torch.zeros_like(parameter)

    # -- checkpoint -------------------------------------------------------------------------

    def state(self) -> dict[str, Tensor]:
        """Moments as ``slot/parameter``, ``iterations`` and the mask's generator."""
        result = {
            f"{slot}/{name}": tensor
            for slot, tensors in self._moments.items()
            for name, tensor in tensors.items()
        }
        result["iterations"] = torch.tensor(self.iterations, dtype=torch.int64)
        result["generator"] = self._generator.get_state()
        return result

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over :meth:`state`; what is missing or has another shape starts from zero."""
        for slot, tensors in self._moments.items():
            for name, tensor in tensors.items():
                saved = state.get(f"{slot}/{name}")
                if saved is not None and saved.shape == tensor.shape:
                    tensor.copy_(saved)
                else:
                    tensor.zero_()
        self.iterations = int(state["iterations"]) if "iterations" in state else 0
        saved = state.get("generator")
        # The state of a CUDA generator is shorter than a CPU's; a model may change machines.
        if saved is not None and saved.shape == self._generator.get_state().shape:
            self._generator.set_state(saved.cpu())

    def move(self, device: torch.device) -> None:
        """Keep the moments on *device*; those that are kept in main memory stay there."""
        if self.offload:
            return
        for tensors in self._moments.values():
            for name, tensor in tensors.items():
                tensors[name] = tensor.to(device)

    # -- step -------------------------------------------------------------------------------

    def step(self, gradients: Mapping[str, Tensor], norm: float) -> None:
        """Apply one update to the parameters named in *gradients*; the others rest.

        Args:
            gradients: by parameter name, of the summed loss; may be overwritten.
            norm: norm of all of them together (only used when clipping).
        """
        self.iterations += 1
        rate = self.learning_rate
        if self.cosine_period:
            turn = self.iterations * 2 * math.pi / self.cosine_period
            rate *= (math.cos(turn) + 1) / 2
        scale = self.clip_norm / norm if 0 < self.clip_norm <= norm else 1.0
        names = list(gradients)
        weights = [self._parameters[name].detach() for name in names]
        grads = [_like(gradients[n], w) for n, w in zip(names, weights, strict=True)]
        masks = self._masks(names, weights) if self.dropout else None
        moments = [[self._moments[slot][name] for name in names] for slot in self.slots]
        if weights[0].device.type == "cpu":
            self._step_slices(weights, grads, moments, masks, rate, scale)
        elif self.offload:
            self._step_offloaded(weights, grads, moments, masks, rate, scale)
        else:
            self._step_foreach(weights, grads, moments, masks, rate, scale)

    def _masks(self, names: Sequence[str], weights: Sequence[Tensor]) -> list[Tensor]:
        """A byte per element, laid out as the weights: updated where below KEEP_THRESHOLD."""
        if self.mask_source is not None:
            given = [self.mask_source(name, w) for name, w in zip(names, weights, strict=True)]
            rests = [(g == 0).to(torch.uint8) * 255 for g in given]
            return [_like(g, w) for g, w in zip(rests, weights, strict=True)]
        # One draw of 64-bit numbers is eight bytes of randomness each: 77 of 256 values keep.
        device, sizes = weights[0].device, [w.numel() for w in weights]
        words = torch.empty((sum(sizes) + 7) // 8, dtype=torch.int64, device=device)
        words.random_(-(2**63), None, generator=self._generator)
        parts = torch.split(words.view(torch.uint8)[: sum(sizes)], sizes)
        return [m.as_strided(w.shape, w.stride()) for m, w in zip(parts, weights, strict=True)]

    def _step_slices(
        self,
        weights: Sequence[Tensor],
        grads: Sequence[Tensor],
        moments: Sequence[Sequence[Tensor]],
        masks: Sequence[Tensor] | None,
        rate: float,
        scale: float,
    ) -> None:
        scratch, kept = torch.empty(_SLICE), torch.empty(_SLICE)
        for i, weight in enumerate(weights):
            flat = [_flat(weight), _flat(grads[i]), *(_flat(slot[i]) for slot in moments)]
            mask = None if masks is None else _flat(masks[i])
            for start in range(0, flat[0].numel(), _SLICE):
                w, g, *state = (t[start : start + _SLICE] for t in flat)
                if scale != 1.0:
                    g.mul_(scale)
                update = self._update_slice(g, state, scratch[: w.numel()])
                if mask is not None:
                    # Comparing bytes, or multiplying by bools, is several times slower.
                    keep = kept[: w.numel()].copy_(mask[start : start + _SLICE])
                    update.mul_(keep.lt_(KEEP_THRESHOLD))
                w.add_(update, alpha=-rate)

    def _step_offloaded(
        self,
        weights: Sequence[Tensor],
        grads: Sequence[Tensor],
        moments: Sequence[Sequence[Tensor]],
        masks: Sequence[Tensor] | None,
        rate: float,
        scale: float,
    ) -> None:
        for i, weight in enumerate(weights):
            here = [[slot[i].to(weight.device, non_blocking=True)] for slot in moments]
            mask = None if masks is None else [masks[i]]
            self._step_foreach([weight], [grads[i]], here, mask, rate, scale)
            for slot, used in zip(moments, here, strict=True):
                slot[i].copy_(used[0])

    def _step_foreach(
        self,
        weights: Sequence[Tensor],
        grads: Sequence[Tensor],
        moments: Sequence[Sequence[Tensor]],
        masks: Sequence[Tensor] | None,
        rate: float,
        scale: float,
    ) -> None:
        w, g = list(weights), list(grads)
        if scale != 1.0:
            torch._foreach_mul_(g, scale)
        update = self._update_foreach(g, [list(slot) for slot in moments])
        if masks is not None:
            torch._foreach_mul_(update, [(m < KEEP_THRESHOLD).to(torch.float32) for m in masks])
        torch._foreach_add_(w, update, alpha=-rate)

    def _update_slice(self, g: Tensor, state: Sequence[Tensor], scratch: Tensor) -> Tensor:
        """Advance the moments of one slice and return its update (in *scratch*)."""
        raise NotImplementedError

    def _update_foreach(self, g: list[Tensor], state: Sequence[list[Tensor]]) -> list[Tensor]:
        """The same for whole tensors."""
        raise NotImplementedError


def _like(tensor: Tensor, weight: Tensor) -> Tensor:
    """*tensor* in the memory layout of *weight*."""
    if tensor.stride() == weight.stride():
        return tensor
    return torch.empty_like(weight, dtype=tensor.dtype).copy_(tensor)


def _flat(tensor: Tensor) -> Tensor:
    """All elements in the order they lie in memory (contiguous or channels_last)."""
    return tensor.as_strided((tensor.numel(),), (1,))


class RMSprop(DflOptimizer):
    """a <- 0.9 a + 0.1 g²; w <- w - lr·g/(√a + 1e-6)."""

    slots = ("acc",)

    def _update_slice(self, g: Tensor, state: Sequence[Tensor], scratch: Tensor) -> Tensor:
        (acc,) = state
        acc.mul_(0.9).addcmul_(g, g, value=0.1)
        torch.sqrt(acc, out=scratch)
        return torch.div(g, scratch.add_(EPSILON), out=scratch)

    def _update_foreach(self, g: list[Tensor], state: Sequence[list[Tensor]]) -> list[Tensor]:
        (acc,) = state
        torch._foreach_mul_(acc, 0.9)
        torch._foreach_addcmul_(acc, g, g, value=0.1)
        root = torch._foreach_sqrt(acc)
        torch._foreach_add_(root, EPSILON)
        return list(torch._foreach_div(g, root))


class AdaBelief(DflOptimizer):
    """m <- 0.9 m + 0.1 g; s <- 0.999 s + 0.001 (g-m)²; w <- w - lr·m/(√s + 1e-6)."""

    slots = ("ms", "vs")

    def _update_slice(self, g: Tensor, state: Sequence[Tensor], scratch: Tensor) -> Tensor:
        first, second = state
        first.mul_(0.9).add_(g, alpha=0.1)
        torch.sub(g, first, out=scratch)
        second.mul_(0.999).addcmul_(scratch, scratch, value=0.001)
        torch.sqrt(second, out=scratch)
        return torch.div(first, scratch.add_(EPSILON), out=scratch)

    def _update_foreach(self, g: list[Tensor], state: Sequence[list[Tensor]]) -> list[Tensor]:
        first, second = state
        torch._foreach_mul_(first, 0.9)
        torch._foreach_add_(first, g, alpha=0.1)
        surprise = torch._foreach_sub(g, first)
        torch._foreach_mul_(second, 0.999)
        torch._foreach_addcmul_(second, surprise, surprise, value=0.001)
        root = torch._foreach_sqrt(second)
        torch._foreach_add_(root, EPSILON)
        return list(torch._foreach_div(first, root))


KINDS: Mapping[str, type[DflOptimizer]] = {"adabelief": AdaBelief, "rmsprop": RMSprop}


def global_norm(gradients: Iterable[Tensor]) -> Tensor:
    """Norm of all gradients together, float32, on their device: inf or NaN if any element is."""
    norms = torch._foreach_norm(list(gradients), 2)
    total: Tensor = torch.linalg.vector_norm(torch.stack([n.float() for n in norms]))
    return total
