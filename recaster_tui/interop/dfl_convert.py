"""Between a DFL model and the content of one of our checkpoints; numpy arrays on both sides."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recaster_tui.errors import BadInputError, DamagedError
from recaster_tui.interop.dfl_folder import Part, dfl_stem, parts
from recaster_tui.interop.dfl_layout import (
    Array,
    dfl_key,
    dfl_shape,
    from_dfl,
    optimizer_key,
    parse_optimizer_key,
    to_dfl,
)
from recaster_tui.interop.dfl_model import ITERS, DflModel
from recaster_tui.interop.dfl_options import Origin, origin_of, read_options, write_options
from recaster_tui.interop.networks import Shapes, optimizer_slots, shapes_of
from recaster_tui.interop.remarks import Remarks, some
from recaster_tui.options import ModelClass, TrainingOptions, class_of
from recaster_tui.protocol.losses import LOSS_DTYPE


@dataclass
class PlainModel:
    """What a checkpoint of ours holds, without torch.

    Attributes:
        weights: ``encoder/down1.downs.0.conv1.weight`` -> float32 array in torch's layout.
        optimizer: ``src_dst_opt/ms/encoder/…`` likewise; ``src_dst_opt/iterations`` int64.
        losses: (n,) ``LOSS_DTYPE``.
        origin: what came along with an imported model.
    """

    iteration: int
    options: TrainingOptions
    weights: dict[str, Array]
    optimizer: dict[str, Array]
    losses: np.ndarray
    origin: Origin = field(default_factory=Origin)

    @property
    def model_class(self) -> ModelClass:
        """By the type of the options."""
        return class_of(self.options)


# --- DFL's to ours -------------------------------------------------------------------------


def from_dfl_model(model: DflModel, remarks: Remarks, *, optimizers: bool = True) -> PlainModel:
    """Turn a DFL model into ours, and say everything that does not fit.

    DFL begins anew, without a word, where a file is missing or has other shapes (quirk 12). Here
    the main networks must be whole; discriminators and moments that do not fit are left out with
    a warning and start afresh.

    Args:
        model: as read.
        remarks: findings are added here.
        optimizers: convert their moments; False where only weights were read.

    Raises:
        DamagedError: the model is not whole; every reason is among *remarks* as an error.
    """
    options = read_options(model, remarks)
    try:
        shapes = shapes_of(options)
    except BadInputError as error:
        remarks.error(f"{model.stem}_data.dat", error.message)
        raise _damaged(model, remarks, error.hint) from error
    if model.iteration == 0:
        remarks.warn(
            f"{model.stem}_data.dat", "iteration 0: DFL itself would begin anew with random weights"
        )
    weights: dict[str, Array] = {}
    optimizer: dict[str, Array] = {}
    usable: set[str] = set()
    table = parts(model.model_class, liae=model.liae)
    for part in table:
        where = f"{model.stem}_{part.suffix}"
        if part.is_optimizer:
            continue
        arrays = model.networks.get(part.object)
        if arrays is None:
            if part.required:
                remarks.error(where, "the file is missing")
            continue
        found = _network(arrays, shapes[part.object], where, part.required, remarks)
        if found is not None:
            weights |= {f"{part.object}/{key}": array for key, array in found.items()}
            usable.add(part.object)
    for part in table:
        if optimizers and part.is_optimizer and set(part.holds) <= usable:
            where = f"{model.stem}_{part.suffix}"
            moments = model.optimizers.get(part.object)
            if moments is None:
                remarks.warn(where, "the file is missing: the optimizer starts afresh")
            else:
                slots = optimizer_slots(options)
                optimizer |= _moments(part, moments, shapes, slots, where, remarks)
    if remarks.errors:
        hint = "DFL would begin these parts anew without a word; bring the missing files back"
        raise _damaged(model, remarks, hint)
    losses = _rows(model, remarks)
    return PlainModel(model.iteration, options, weights, optimizer, losses, origin_of(model))


def _damaged(model: DflModel, remarks: Remarks, hint: str | None) -> DamagedError:
    return DamagedError(
        f"the DFL model {model.stem} is not whole: "
        + "; ".join(f"{r.where}: {r.text}" for r in remarks.errors[:4]),
        hint=hint,
    )


def _network(
    arrays: Mapping[str, Array],
    shapes: Mapping[str, tuple[int, ...]],
    where: str,
    required: bool,
    remarks: Remarks,
) -> dict[str, Array] | None:
    wrong: list[str] = []
    found: dict[str, Array] = {}
    reshaped: list[str] = []
    types = set()
    for name, shape in shapes.items():
        key, wanted = dfl_key(name), dfl_shape(shape)
        array = arrays.get(key)
        if array is None:
            wrong.append(f"{key} is missing")
        elif array.size != int(np.prod(wanted)) or array.dtype.kind != "f":
            wrong.append(f"{key} is {array.dtype} {array.shape}, not float32 {wanted}")
        else:
            if array.shape != wanted:
                reshaped.append(key)
            types.add(array.dtype.name)
            found[name] = from_dfl(array.reshape(wanted).astype(np.float32, copy=False))
    if wrong:
        report = remarks.error if required else remarks.warn
        report(where, some(wrong) + ("" if required else ": this discriminator starts afresh"))
        return None
    unknown = [key for key in arrays if key not in {dfl_key(name) for name in shapes}]
    if unknown:
        remarks.warn(where, f"not part of this network, left out: {some(unknown)}")
    if reshaped:
        remarks.note(where, f"brought into shape: {some(reshaped)}")
    if types - {"float32"}:
        remarks.note(where, f"stored as {', '.join(sorted(types))}, used as float32")
    bad = [key for key, array in found.items() if not np.isfinite(array).all()]
    if bad:
        remarks.warn(where, f"holds NaN or infinite numbers, the model has collapsed: {some(bad)}")
    return found


def _moments(
    part: Part,
    given: Mapping[str, Any],
    shapes: Shapes,
    slots: tuple[str, ...],
    where: str,
    remarks: Remarks,
) -> dict[str, Array]:
    result: dict[str, Array] = {}
    iters = given.get(ITERS)
    if iters is None or np.size(iters) != 1:
        remarks.warn(where, f"{ITERS} is missing: counted from 0")
        iters = 0
    result[f"{part.object}/iterations"] = np.array(np.reshape(iters, ())[()], np.int64)
    missing = []
    for slot in slots:
        for network in part.holds:
            for name, shape in shapes[network].items():
                key, wanted = optimizer_key(slot, network, name), dfl_shape(shape)
                array = given.get(key)
                if array is None or np.size(array) != int(np.prod(wanted)):
                    missing.append(key)
                    continue
                array = np.asarray(array, np.float32).reshape(wanted)
                result[f"{part.object}/{slot}/{network}/{name}"] = from_dfl(array)
    if missing:
        expected = sum(len(shapes[network]) for network in part.holds) * len(slots)
        what = "all" if len(missing) == expected else f"{len(missing)} of {expected}"
        text = f"{what} moments are missing or of another shape and start from zero: "
        remarks.warn(where, text + some(missing, 2))
    foreign = [k for k in given if k != ITERS and not _belongs(k, part, shapes, slots)]
    if foreign:
        remarks.note(where, f"not used by this optimizer, left out: {some(foreign, 2)}")
    return result


def _belongs(key: str, part: Part, shapes: Shapes, slots: tuple[str, ...]) -> bool:
    named = parse_optimizer_key(key)
    if named is None:
        return False
    slot, network, name = named
    return slot in slots and network in part.holds and name in shapes[network]


def _rows(model: DflModel, remarks: Remarks) -> np.ndarray:
    history, count = model.loss_history, model.iteration
    if len(history) != count:
        remarks.warn(
            f"{model.stem}_data.dat",
            f"{len(history)} losses for {count} iterations: the last ones are kept"
            if len(history) > count
            else f"{len(history)} losses for {count} iterations: taken for the last ones",
        )
        history = history[len(history) - count :] if len(history) > count else history
    rows = np.zeros(len(history), LOSS_DTYPE)
    rows["iteration"] = np.arange(count - len(history) + 1, count + 1)
    if history:
        table = np.asarray(history, np.float64)
        rows["src"] = table[:, 0]
        rows["dst"] = table[:, 1] if table.shape[1] > 1 else np.nan
    return rows


# --- ours to DFL's -------------------------------------------------------------------------


def to_dfl_model(plain: PlainModel, name: str, remarks: Remarks) -> DflModel:
    """Turn a checkpoint of ours into a DFL model that DFL resumes.

    Raises:
        DamagedError: a weight of the main networks is missing or has another shape.
        BadInputError: see :func:`~recaster_tui.interop.networks.make_networks`.
    """
    kind, shapes = plain.model_class, shapes_of(plain.options)
    dfl_options = write_options(kind, plain.options, plain.origin, remarks)
    model = DflModel(
        dfl_stem(name, kind),
        kind,
        plain.iteration,
        dfl_options,
        _history(plain, remarks),
        {},
        sample_for_preview=plain.origin.sample_for_preview,
    )
    for part in parts(kind, liae=model.liae):
        if part.is_optimizer:
            continue
        arrays = _weights(part, plain.weights, shapes[part.object], remarks)
        if arrays:
            model.networks[part.object] = arrays
    slots = optimizer_slots(plain.options)
    for part in parts(kind, liae=model.liae):
        if part.is_optimizer and set(part.holds) <= set(model.networks):
            model.optimizers[part.object] = _states(part, plain.optimizer, shapes, slots, remarks)
    return model


def _weights(
    part: Part,
    weights: Mapping[str, Array],
    shapes: Mapping[str, tuple[int, ...]],
    remarks: Remarks,
) -> dict[str, Array]:
    given = {name: weights.get(f"{part.object}/{name}") for name in shapes}
    wrong = [n for n, a in given.items() if a is None or tuple(a.shape) != shapes[n]]
    if not wrong:
        return {
            dfl_key(n): to_dfl(np.asarray(a, np.float32)) for n, a in given.items() if a is not None
        }
    if part.required:
        raise DamagedError(
            f"weights of {part.object} are missing or have another shape: {some(wrong)}",
            hint="the checkpoint does not fit its own options",
        )
    if len(wrong) < len(shapes):
        remarks.warn(part.object, "does not fit the options and is not exported")
    return {}


def _states(
    part: Part,
    optimizer: Mapping[str, Array],
    shapes: Shapes,
    slots: tuple[str, ...],
    remarks: Remarks,
) -> dict[str, Any]:
    steps = optimizer.get(f"{part.object}/iterations")
    result: dict[str, Any] = {ITERS: np.int64(0 if steps is None else int(steps))}
    missing = 0
    for slot in slots:
        for network in part.holds:
            for name, shape in shapes[network].items():
                array = optimizer.get(f"{part.object}/{slot}/{network}/{name}")
                if array is None or tuple(array.shape) != shape:
                    missing += 1
                    array = np.zeros(shape, np.float32)
                result[optimizer_key(slot, network, name)] = to_dfl(np.asarray(array, np.float32))
    if missing:
        remarks.warn(part.object, f"{missing} moments are not there and are written as zero")
    return result


def _history(plain: PlainModel, remarks: Remarks) -> list[list[float]]:
    """One row for each iteration; zeros, which DFL's chart shows as such, where none is known."""
    columns = ("src",) if plain.model_class is ModelClass.XSEG else ("src", "dst")
    table = np.zeros((plain.iteration, len(columns)))
    known = np.zeros(plain.iteration, bool)
    inside = plain.losses["iteration"]
    rows = plain.losses[(inside >= 1) & (inside <= plain.iteration)]
    at = rows["iteration"].astype(np.int64) - 1
    for i, column in enumerate(columns):
        table[at, i] = rows[column]
    known[at] = True
    finite = np.isfinite(table).all(1)
    table[~finite] = 0.0
    gaps = int((~(known & finite)).sum())
    if gaps:
        remarks.warn(
            "loss_history", f"{gaps} of {plain.iteration} losses are not known, written as 0"
        )
    rows_out: list[list[float]] = table.tolist()
    return rows_out
