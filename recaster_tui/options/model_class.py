"""The four model classes."""

from enum import StrEnum


class ModelClass(StrEnum):
    """Values are used in file names; :attr:`title` is what people call them."""

    SAEHD = "saehd"
    AMP = "amp"
    QUICK96 = "quick96"
    XSEG = "xseg"

    @property
    def title(self) -> str:  # type: ignore[override]  # str.title is of no use on an enum
        """SAEHD, AMP, Quick96, XSeg."""
        return {"saehd": "SAEHD", "amp": "AMP", "quick96": "Quick96", "xseg": "XSeg"}[self.value]
