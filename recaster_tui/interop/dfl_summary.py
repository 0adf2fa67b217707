"""``N_K_summary.txt``, the table that DFL shows at start and at saves (dfl-models.md 2.6)."""

from recaster_tui.interop.dfl_model import DflModel

_WHILE_PRETRAINING = {
    "lr_dropout": "n",
    "random_warp": False,
    "gan_power": 0.0,
    "random_hsv_power": 0.0,
    "face_style_power": 0.0,
    "bg_style_power": 0.0,
    "uniform_yaw": True,
}


def summary(model: DflModel) -> str:
    """The text for *model*; the device it names is the CPU, because none is known here."""
    options = dict(model.options)
    if options.get("pretrain"):
        options |= {k: v for k, v in _WHILE_PRETRAINING.items() if k in options}
    texts = {key: str(value) for key, value in options.items()}
    names = max([17, *(len(key) for key in texts)]) + 1
    iteration = str(model.iteration)
    values = max([len(text) for text in (*texts.values(), iteration, model.stem)]) + 1
    width = names + values + 2

    def row(name: str, value: str) -> str:
        return f"=={name:>{names}}: {value:<{values}}=="

    def bar(title: str, fill: str) -> str:
        return f"=={title.center(width, fill)}=="

    blank = bar("", " ")
    lines = [
        bar(" Model Summary ", "="),
        blank,
        row("Model name", model.stem),
        blank,
        row("Current iteration", iteration),
        blank,
        bar(" Model Options ", "-"),
        blank,
        *(row(key, text) for key, text in texts.items()),
        blank,
        bar(" Running On ", "-"),
        blank,
        row("Using device", "CPU"),
        blank,
        bar("", "="),
    ]
    return "\n".join(lines)
