"""What is done when training goes wrong."""

from pydantic import BaseModel, ConfigDict

from recaster_tui.options.spec import When, option


class GuardOptions(BaseModel):
    """When training goes back to an earlier save by itself, and how often."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True
    )

    guard_rollbacks: int = option(
        1,
        label="Rollbacks",
        group="Saving",
        ge=0,
        le=20,
        step=1,
        live=True,
        help="""When training collapses (a loss that is no number, or what the next options watch
        for), it goes back to the last good save and on with half the learning rate. This is how
        often; then the run ends, and the good save stays. 5,000 iterations without trouble
        forgive what was before. 0 = it ends the first time.""",
        recommended="1: what collapses twice needs other options",
    )
    guard_spikes: bool = option(
        True,
        label="Guard: loss",
        group="Saving",
        live=True,
        help="""Goes back when the loss jumps and stays up for a hundred iterations. Single bad
        iterations do not count, nor do the first thousand after an option changed, after a start,
        and the batches of retrained worst faces.""",
        recommended="yes: no, if you know why it jumps and want it to",
    )
    guard_spike_ratio: float = option(
        2.5,
        label="Guard: loss ratio",
        group="Saving",
        ge=1.5,
        le=100.0,
        step=0.5,
        live=True,
        shown_when=When("guard_spikes", "is", True),
        help="""How many times its usual value the loss must be to count as a jump. It must be far
        outside its usual spread as well.""",
        recommended="2.5: higher for very mixed faces",
    )
    guard_output: bool = option(
        True,
        label="Guard: pictures",
        group="Saving",
        live=True,
        help="""Looks at a few faces now and then, at less than half a per cent of the time, and
        goes back when pictures that were good have become black or one even colour, or masks
        empty or full. Dark faces and a young model's first pictures do not count.""",
        recommended="yes: the loss alone may look harmless",
    )
