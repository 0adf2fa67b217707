"""Which files make up a DFL model, and which models lie in a folder (dfl-models.md 2.1).

By their names; nothing is opened here.
"""

from dataclasses import dataclass
from pathlib import Path

from recaster_tui.options import ModelClass

DATA, SUMMARY = "data.dat", "summary.txt"


@dataclass(frozen=True)
class Part:
    """One weights file.

    Attributes:
        object: root name of its variables: ``encoder``, ``D_src``, ``src_dst_opt``; for networks
            also our name.
        suffix: end of the file name: ``GAN.npy``.
        holds: for optimizers the networks whose moments it keeps, in order; empty for networks.
        required: without this file there is no model (DFL would begin anew without a word).
    """

    object: str
    suffix: str
    holds: tuple[str, ...] = ()
    required: bool = False

    @property
    def is_optimizer(self) -> bool:
        """Whether it holds moments instead of weights."""
        return bool(self.holds)


def parts(model: ModelClass, *, liae: bool = False) -> tuple[Part, ...]:
    """Every part a model of the class can have, in the order in which DFL saves them.

    Args:
        model: the class.
        liae: SAEHD with one of the liae architectures.
    """
    if model is ModelClass.XSEG:
        return (
            Part("opt", "256_opt.npy", holds=("XSeg",)),
            Part("XSeg", "256.npy", required=True),
        )
    if model is ModelClass.AMP:
        # Both inters stay at their start values, so the optimizer does not know them.
        return (
            *_networks("encoder", "inter_src", "inter_dst", "decoder"),
            Part("src_dst_opt", "src_dst_opt.npy", holds=("encoder", "decoder")),
            Part("GAN", "GAN.npy"),
            Part("GAN_opt", "GAN_opt.npy", holds=("GAN",)),
        )
    names = (
        ("encoder", "inter_AB", "inter_B", "decoder")
        if liae
        else ("encoder", "inter", "decoder_src", "decoder_dst")
    )
    main = Part("src_dst_opt", "src_dst_opt.npy", holds=names)
    if model is ModelClass.QUICK96:
        return *_networks(*names), main
    dis = () if liae else (Part("dis", "code_discriminator.npy"),)
    dis_opt = () if liae else (Part("D_code_opt", "D_code_opt.npy", holds=("dis",)),)
    return (
        *_networks(*names),
        *dis,
        Part("D_src", "GAN.npy"),
        main,
        *dis_opt,
        Part("GAN_opt", "GAN_opt.npy", holds=("D_src",)),
    )


def _networks(*names: str) -> tuple[Part, ...]:
    return tuple(Part(name, f"{name}.npy", required=True) for name in names)


@dataclass(frozen=True)
class DflEntry:
    """The files of one DFL model, whether they exist or not.

    Attributes:
        folder: the model directory.
        stem: what all its file names begin with: ``new_SAEHD``, or ``XSeg``.
    """

    folder: Path
    stem: str
    model_class: ModelClass

    @property
    def name(self) -> str:
        """What DFL's list shows: what comes before the first underscore."""
        return self.stem.partition("_")[0]

    @property
    def data(self) -> Path:
        """The state file, by which a model is found."""
        return self.path(DATA)

    @property
    def default_options(self) -> Path:
        """Options of the last model of this class that was begun in the folder."""
        return self.folder / f"{self.model_class.title}_default_options.dat"

    def path(self, suffix: str) -> Path:
        """The file of a part."""
        return self.folder / f"{self.stem}_{suffix}"

    def files(self) -> list[Path]:
        """Those files of the model that are there: state, summary, every possible part."""
        suffixes = [DATA, SUMMARY]
        for liae in (False, True):
            suffixes += [part.suffix for part in parts(self.model_class, liae=liae)]
        paths = (self.path(suffix) for suffix in dict.fromkeys(suffixes))
        return [path for path in paths if path.is_file()]


def dfl_entry(folder: Path, name: str, model: ModelClass) -> DflEntry:
    """Where the model *name* of a class is, or would be written; XSeg has no name of its own."""
    return DflEntry(folder, dfl_stem(name, model), model)


def dfl_stem(name: str, model: ModelClass) -> str:
    """What the file names of a model begin with: ``new_SAEHD``; ``XSeg`` whatever the name."""
    return model.title if model is ModelClass.XSEG else f"{name}_{model.title}"


def find_dfl_models(folder: Path) -> list[DflEntry]:
    """The DFL models in *folder*, the one saved last first; empty where there is no folder."""
    found: list[tuple[float, DflEntry]] = []
    for path in folder.glob(f"*_{DATA}") if folder.is_dir() else ():
        stem = path.name.removesuffix(f"_{DATA}")
        for model in ModelClass:
            fits = stem == model.title if model is ModelClass.XSEG else _named(stem, model)
            if fits and path.is_file():
                found.append((path.stat().st_mtime, DflEntry(folder, stem, model)))
    found.sort(key=lambda item: (-item[0], item[1].stem))
    return [entry for _, entry in found]


def _named(stem: str, model: ModelClass) -> bool:
    return stem.endswith(f"_{model.title}") and not stem.startswith("_")
