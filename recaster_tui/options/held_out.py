"""Faces kept aside to measure on, and how often that is done."""

from pydantic import BaseModel, ConfigDict

from recaster_tui.options.spec import option


class HeldOutOptions(BaseModel):
    """What "is it done?" is answered from."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True
    )

    held_out_percent: float = option(
        3.0,
        label="Held-out faces (%)",
        group="Measuring",
        ge=0.0,
        le=20.0,
        step=1.0,
        help="""Share of each side's faces that is never trained on, only measured: whole stretches
        of the film, so that no neighbouring frame gives them away. Chosen once for a model; only
        sides of 100 faces or more. 0 = every face is trained on and nothing is measured.""",
        recommended="3: shows learning by heart before the loss does; 0 for the last polish",
    )
    held_out_seconds: int = option(
        180,
        label="Measure every (s)",
        group="Measuring",
        ge=5,
        le=86_400,
        step=30,
        live=True,
        help="""Seconds between two measurements on the held-out faces. A slow machine measures
        less often, so that it never takes more than a hundredth of the time.""",
        recommended="180: enough to see a trend within an hour",
    )
