"""A polygon drawn ray by ray round the face: take each proposal, or move it in and out first."""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from recaster_tui.faces.ray_edges import Floats, RayFan


class Proposal(StrEnum):
    """Where the proposed points come from."""

    EDGE = "edge"
    """The edge seen in the picture; corrections move the rays still to come."""
    MASK = "mask"
    """The edge of the stored XSeg mask."""
    OUTLINE = "outline"
    """The landmarks' outline with a forehead."""


class RayDrawing:
    """How far the drawing is. Radii are in pixels of the picture.

    Attributes:
        fan: the rays.
        at: the ray that is asked about.
        accepted: ray: radius of those answered.
        radii: (n,) accepted ones, and proposals for the rest.
    """

    def __init__(self, fan: RayFan, proposal: Proposal | None = None) -> None:
        self.fan = fan
        usual = Proposal.EDGE if fan.mask is None else Proposal.MASK
        self.proposal = proposal or usual
        self.at = 0
        self.accepted: dict[int, float] = {}
        self.radii: Floats = fan.expected
        self._propose()

    @property
    def done(self) -> bool:
        """Whether every ray is answered."""
        return len(self.accepted) >= len(self.fan)

    @property
    def point(self) -> tuple[float, float]:
        """The proposed point on the ray that is asked about."""
        x, y = self.fan.points(self.radii)[self.at]
        return float(x), float(y)

    def points(self) -> NDArray[np.float32]:
        """(n, 2) the outline as it would be now."""
        return self.fan.points(self.radii)

    def adjust(self, pixels: float) -> None:
        """Move the proposal outwards, or inwards if negative; it stays on its ray."""
        radius = self.radii[self.at] + pixels
        self.radii[self.at] = np.clip(radius, 1.0, self.fan.farthest[self.at])

    def accept(self) -> bool:
        """Take the proposal and go on to the next ray; True when that was the last."""
        self.accepted[self.at] = float(self.radii[self.at])
        if self.done:
            return True
        self.at += 1
        self._propose()
        return False

    def accept_all(self) -> None:
        """Take this and every other proposal that is left."""
        for ray in range(len(self.fan)):
            self.accepted.setdefault(ray, float(self.radii[ray]))

    def back(self) -> bool:
        """Ask about the ray before again; False at the first."""
        if self.at == 0:
            return False
        self.at -= 1
        radius = self.accepted.pop(self.at)
        self._propose()
        self.radii[self.at] = radius
        return True

    def next_proposal(self) -> Proposal:
        """Proposals from elsewhere for the rays still to come."""
        kinds = [k for k in Proposal if k is not Proposal.MASK or self.fan.mask is not None]
        self.proposal = kinds[(kinds.index(self.proposal) + 1) % len(kinds)]
        self._propose()
        return self.proposal

    def _propose(self) -> None:
        if self.proposal is Proposal.EDGE:
            self.radii = self.fan.solve(self.accepted)
            return
        mask = self.fan.mask if self.proposal is Proposal.MASK else None
        base = self.fan.expected if mask is None else mask
        ratio = 1.0
        if self.proposal is Proposal.OUTLINE and self.accepted:
            # The outline is wrong by about as much here as it was one ray before.
            last = max(self.accepted)
            ratio = self.accepted[last] / max(float(base[last]), 1e-6)
        self.radii = np.minimum(base * ratio, self.fan.farthest)
        for ray, radius in self.accepted.items():
            self.radii[ray] = radius
