"""Typed options of every model class: the one source for form, CLI, TOML, help and validation."""

from recaster_tui.options.architecture import Architecture, parse_architecture
from recaster_tui.options.autoencoder import AutoencoderOptions
from recaster_tui.options.batch import AUTO, batch_number, with_number
from recaster_tui.options.common import TrainingOptions
from recaster_tui.options.config import (
    Config,
    all_configs,
    config_from_table,
    dump_config,
    find_config,
    load_config,
)
from recaster_tui.options.dfl_names import from_dfl, to_dfl
from recaster_tui.options.gan_plan import gan_strides
from recaster_tui.options.model_class import ModelClass
from recaster_tui.options.models import (
    AmpOptions,
    Quick96Options,
    SaehdOptions,
    XsegOptions,
    class_of,
    options_class,
)
from recaster_tui.options.spec import GROUPS, OptionSpec, When
from recaster_tui.options.validation import (
    OptionsError,
    advice,
    changed,
    defaults,
    effective,
    live_problem,
    parse_assignment,
    problems,
    spec_map,
    specs,
    validate,
    visible,
)

__all__ = [
    "AUTO",
    "GROUPS",
    "AmpOptions",
    "Architecture",
    "AutoencoderOptions",
    "Config",
    "ModelClass",
    "OptionSpec",
    "OptionsError",
    "Quick96Options",
    "SaehdOptions",
    "TrainingOptions",
    "When",
    "XsegOptions",
    "advice",
    "all_configs",
    "batch_number",
    "changed",
    "class_of",
    "config_from_table",
    "defaults",
    "dump_config",
    "effective",
    "find_config",
    "from_dfl",
    "gan_strides",
    "live_problem",
    "load_config",
    "options_class",
    "parse_architecture",
    "parse_assignment",
    "problems",
    "spec_map",
    "specs",
    "to_dfl",
    "validate",
    "visible",
    "with_number",
]
