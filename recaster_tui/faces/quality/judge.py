"""From measurements to findings: what is wrong with each face, in words.

Limits are absolute where training is hurt whatever the rest of the set is like, and relative to
the set where a face only stands out.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recaster_tui.faces.quality.appearance import FEWEST, Appearance, appearance
from recaster_tui.faces.quality.chains import Chains, chains
from recaster_tui.faces.quality.duplicates import twins
from recaster_tui.faces.quality.fit import Fit, fit_landmarks, histograms
from recaster_tui.faces.quality.measure import Measurements
from recaster_tui.faces.quality.model import CODES, FaceScore, Finding, score_of
from recaster_tui.faces.quality.subspace import pose_terms

Floats = NDArray[np.float32]

# Exposure, grey levels of 255 inside the hull.
DARK, DARK_SHARE, DARK_BELOW = 24.0, 0.4, 62.0
BRIGHT, BRIGHT_SHARE, BRIGHT_ABOVE, WHITE = 238.0, 1.45, 215.0, 0.25
FLAT, FLAT_SHARE = 28.0, 0.3
# Blur, pixels at the common scale.
BLUR, BLUR_SHARE, BLUR_FROM = 2.5, 1.45, 1.25
SMALL, ENLARGED = 40.0, 2.5
TURN, NOD = 66.0, 48.0
ALIGN_ERROR, SOURCE_ERROR = 0.04, 0.03
SHAPE_ERROR, SHAPE_SHARE = 0.16, 2.2
UNLIKE = 9.5
"""Sum of three robust z-scores (texture, proportions, colour) from which a face stands out."""
UNLIKE_ALONE = 8.5
COVERED, SUDDEN = 0.12, 0.085
"""Share of the face in one unusual patch: for the set, and against the frames around it."""
MASKED_OUT = 0.35


@dataclass(frozen=True)
class Judged:
    """What the whole set says of each face.

    Attributes:
        fit: None where the set is too small to tell.
        off: (n,) robust length of the landmarks' offset, in standard deviations of the set.
    """

    looks: Appearance
    chains: Chains
    fit: Fit | None
    off: Floats


def judge(
    names: Sequence[str], known: Measurements, told: Callable[[int], None] = lambda percent: None
) -> list[FaceScore]:
    """Score every face; *names* in the order of *known*.

    Args:
        told: hears how far it is, 0 to 100.
    """
    count = len(known)
    told(0)
    findings: list[list[Finding]] = [[] for _ in range(count)]
    linked = _linked(known)
    for i in range(count):
        findings[i] += _metadata(known, i)
        findings[i] += _exposure(known, i)
        if not findings[i]:  # else the edges looked at are not the face's
            findings[i] += _blur(known, linked, i)
        findings[i] += _size(known, i)
        findings[i] += _pose(known, i)
        if known.doubt[i]:
            words = f"the detector was not sure: {known.doubt[i]}"
            findings[i].append(Finding("doubtful", 0.55, 1.0, 0.0, words))
    clean = np.array([not any(f.severity >= 0.3 for f in some) for some in findings], bool)
    told(20)
    judged = _compare(known, linked, clean)
    told(65)
    for i in range(count):
        # A picture that is black, white or out of focus says nothing about what is on it.
        codes = {f.code for f in findings[i] if f.severity >= 0.3}
        if codes.isdisjoint({"dark", "bright", "low-contrast", "blurred", "misaligned"}):
            findings[i] += _strange(known, judged, i)
        findings[i] += _masked(known, i)
    told(80)
    worth = _worth(known, findings)
    for i, twin in twins(known, worth).items():
        kept = names[twin.kept]
        words = (
            f"cut from the same place of the same frame as {kept}, which is kept"
            if twin.same_place
            else f"the same picture as {kept}, which is kept as the better one"
        )
        findings[i].append(Finding("duplicate", 0.9, twin.difference, 0.0, words))
    order = {code: number for number, code in enumerate(CODES)}
    scores = []
    for i, name in enumerate(names):
        some = tuple(sorted(findings[i], key=lambda f: (-f.severity, order[f.code])))
        scores.append(FaceScore(name, score_of(some), _values(known, judged, i), some))
    told(100)
    return scores


def _linked(known: Measurements) -> Chains:
    green = np.ascontiguousarray(known.texture[:, :, :, 1])
    return chains(known.frame, known.placement, histograms(green))


def _compare(known: Measurements, linked: Chains, clean: NDArray[np.bool_]) -> Judged:
    count = len(known)
    if clean.sum() < FEWEST:
        clean = np.ones(count, bool)
    looks = appearance(known, clean, linked.near)
    if count < FEWEST:
        return Judged(looks, linked, None, np.full(count, np.nan, np.float32))
    pose = pose_terms(known.value("turn"), known.value("nod"))
    fit = fit_landmarks(known.crop, clean, pose)
    middle = np.median(fit.offset[clean], 0)
    spread = 1.4826 * np.median(np.abs(fit.offset[clean] - middle), 0) + 1e-3
    off = np.sqrt((((fit.offset - middle) / spread) ** 2).sum(1))
    return Judged(looks, linked, fit, np.asarray(off, np.float32))


def _exposure(known: Measurements, i: int) -> list[Finding]:
    luma = float(known.value("luma")[i])
    low, high = float(known.value("luma_low")[i]), float(known.value("luma_high")[i])
    usual = known.usual("luma")
    if math.isnan(luma):
        return []
    limit = max(DARK, min(DARK_BELOW, DARK_SHARE * usual))
    if luma < limit:
        words = f"dark: the face's brightness is {luma:.0f} of 255, the set's {usual:.0f}"
        return [Finding("dark", _steep(limit / max(luma, 1.0)), luma, limit, words)]
    white = float(known.value("white")[i])
    limit = min(BRIGHT, max(BRIGHT_ABOVE, BRIGHT_SHARE * usual))
    if white > WHITE:
        words = f"over-exposed: {white:.0%} of the face is pure white"
        return [Finding("bright", 0.5 + 0.5 * white, white, WHITE, words)]
    if luma > limit:
        words = f"over-exposed: the face's brightness is {luma:.0f} of 255, the set's {usual:.0f}"
        return [Finding("bright", 0.6, luma, limit, words)]
    usual_span = known.usual("luma_high") - known.usual("luma_low")
    limit = min(FLAT, 0.5 * usual_span)
    if high - low < max(limit, FLAT_SHARE * usual_span):
        words = (
            f"low contrast: {high - low:.0f} grey levels between light and shadow, "
            f"the set has {usual_span:.0f}"
        )
        return [Finding("low-contrast", 0.6, high - low, limit, words)]
    return []


def _blur(known: Measurements, linked: Chains, i: int) -> list[Finding]:
    blur = float(known.value("blur")[i])
    usual = known.usual("blur")
    logs = np.log(np.maximum(known.value("blur"), 0.2))
    spread = 1.4826 * float(np.nanmedian(np.abs(logs - np.nanmedian(logs))))
    limit = min(BLUR, max(BLUR_FROM, usual * max(BLUR_SHARE, math.exp(4 * spread))))
    # A set that is soft throughout is no reason to propose all of it.
    limit = max(limit, 1.15 * usual)
    if blur > limit:
        words = f"blurred: its edges are {blur:.1f} px wide, the set's {usual:.1f}"
        severity = _steep(blur / limit, 0.5)
        if blur >= 1.4 * limit and usual < BLUR:
            severity = max(severity, 0.75)
        return [Finding("blurred", severity, blur, limit, words)]
    around = linked.median(known.value("blur"), i)
    if len(linked.members[i]) >= 4 and blur > 1.38 * around and blur > max(1.3 * usual, BLUR_FROM):
        words = (
            f"blurred: its edges are {blur:.1f} px wide, those of the frames around {around:.1f}"
        )
        return [Finding("blurred", _steep(blur / around / 1.38), blur, 1.38 * around, words)]
    across, down = (float(known.value(name)[i]) for name in ("blur_across", "blur_down"))
    if math.isnan(across) or math.isnan(down):
        return []
    worst, name = (across, "blur_across") if across > down else (down, "blur_down")
    limit = max(BLUR, 2.4 * known.usual(name))
    if worst > limit and worst > 2.0 * min(across, down) and blur > 1.3 * usual:
        way = "sideways" if across > down else "up and down"
        words = f"blurred by motion {way}: edges of {worst:.1f} px, the set's {limit / 2.4:.1f}"
        return [Finding("blurred", 0.55, worst, limit, words)]
    return []


def _size(known: Measurements, i: int) -> list[Finding]:
    pixels, enlarged = float(known.value("face_px")[i]), float(known.value("enlarged")[i])
    side = float(known.value("side")[i])
    if pixels < SMALL:
        words = f"small: the face was {pixels:.0f} px wide in its frame"
        if enlarged > 1.2:
            words += f", enlarged {enlarged:.1f} times"
        return [Finding("small", _steep(SMALL / pixels, 0.5), pixels, SMALL, words)]
    if enlarged > ENLARGED:
        words = f"enlarged {enlarged:.1f} times to {side:.0f} px from {pixels:.0f} px in its frame"
        return [Finding("small", min(0.45, 0.12 * enlarged), enlarged, ENLARGED, words)]
    return []


def _pose(known: Measurements, i: int) -> list[Finding]:
    turn, nod = float(known.value("turn")[i]), float(known.value("nod")[i])
    if abs(turn) > TURN:
        way = "right" if turn > 0 else "left"
        words = f"turned {abs(turn):.0f}° to the {way}: half of the landmarks are guessed"
        return [Finding("extreme-pose", 0.5, abs(turn), TURN, words)]
    if abs(nod) > NOD:
        words = f"tilted {abs(nod):.0f}° up or down: the landmarks are hardly reliable"
        return [Finding("extreme-pose", 0.5, abs(nod), NOD, words)]
    return []


def _metadata(known: Measurements, i: int) -> list[Finding]:
    value = {name: float(known.value(name)[i]) for name in ("align_error", "source_error")}
    if value["source_error"] > SOURCE_ERROR:
        error = value["source_error"]
        words = (
            f"metadata contradict each other: the frame's landmarks end up {error:.0%} of the "
            "picture away from the face's own"
        )
        return [Finding("misaligned", _steep(error / SOURCE_ERROR, 0.6), error, 0.03, words)]
    if value["align_error"] > ALIGN_ERROR:
        error = value["align_error"]
        words = (
            f"not cut as its landmarks ask: the crop is off by {error:.0%} of its side, "
            "they belong to another picture or face type"
        )
        return [Finding("misaligned", _steep(error / ALIGN_ERROR, 0.6), error, 0.04, words)]
    if known.value("mirrored")[i] > 0:
        words = "the landmarks are upside down or mirrored"
        return [Finding("misaligned", 1.0, 1.0, 0.0, words)]
    error = float(known.value("shape_error")[i])
    limit = max(SHAPE_ERROR, SHAPE_SHARE * known.usual("shape_error"))
    if error > limit:
        words = f"the landmarks are no face: off by {error:.0%} of its size, the set's by " + (
            f"{known.usual('shape_error'):.0%}"
        )
        return [Finding("misaligned", _steep(error / limit, 0.6), error, limit, words)]
    return []


def _strange(known: Measurements, judged: Judged, i: int) -> list[Finding]:
    """Misaligned, another person or covered: one of them at most."""
    looks, linked = judged.looks, judged.chains
    fit = judged.fit
    if fit is None or math.isnan(float(looks.shape[i])):
        return []
    off, gain = float(judged.off[i]), float(fit.gain[i])
    length = float(fit.displacement[i])
    jump = float(linked.jump[i])
    shown = length >= 0.05
    far = off >= 9.0 and length >= 0.12 and gain >= 0.1
    if shown and (far or (off >= 4.0 and gain >= 0.33) or (off >= 7.0 and gain >= 0.2)):
        return [_misaligned(fit, jump, i)]

    unlike = looks.texture + looks.shape + looks.colour
    own, shape, tone = float(unlike[i]), float(looks.shape[i]), float(looks.tone[i])
    slack = 2.0 * math.log(max(1.0, float(looks.rare[i]) / 3))
    chained = len(linked.members[i]) >= 4
    # One and the same person without a cut: the frames around it know better.
    person = min(own, float(linked.median(unlike, i)) + 2.0) if chained else own
    if chained:
        shape = min(shape, float(linked.median(looks.shape, i)) + 1.5)
    # In a film hardly a face stands alone.
    limit = UNLIKE + slack if chained or linked.share < 0.7 else UNLIKE_ALONE + slack
    if person >= limit and (shape >= 2.3 or (tone >= 5.0 and shape >= 1.2)):
        words = "another person? its " + _likeness_words(looks, i) + " not those of the set"
        severity = _steep(person / limit, 0.55)
        return [Finding("other-person", severity, person, limit, words)]

    if shown and 0.05 <= jump <= 0.4 and off >= 3.3 and gain >= -0.05:
        return [_misaligned(fit, jump, i)]
    return _covered(judged, i, slack)


def _misaligned(fit: Fit, jump: float, i: int) -> Finding:
    length = float(fit.displacement[i])
    words = "misaligned: " + _offset_words(fit.offset[i])
    if jump >= 0.05:
        words += "; its neighbours in time are elsewhere"
    return Finding("misaligned", _steep(length / 0.06, 0.55), length, 0.06, words)


def _covered(judged: Judged, i: int, slack: float) -> list[Finding]:
    looks, linked = judged.looks, judged.chains
    covered, sudden = float(looks.covered[i]), float(looks.sudden[i])
    limit = COVERED + 0.04 * math.log(max(1.0, float(looks.rare[i])))
    if covered > limit:
        words = f"something covers {covered:.0%} of the face around the {looks.patch[i]}"
        return [Finding("occluded", _steep(covered / limit, 0.55), covered, limit, words)]
    if sudden > SUDDEN:
        words = (
            f"something covers {sudden:.0%} of the face around the {looks.sudden_patch[i]}: "
            "the frames around it do not have it"
        )
        return [Finding("occluded", _steep(sudden / SUDDEN, 0.55), sudden, SUDDEN, words)]
    surface = float(looks.texture[i] + looks.colour[i])
    alone = len(linked.members[i]) == 1 and len(linked.near[i]) >= 3
    still = abs(float(linked.jump[i])) < 0.3
    limit = 6.0 if alone and still else UNLIKE - 1.0
    chained = len(linked.members[i]) >= 4
    usual = float(linked.median(looks.texture + looks.colour, i)) if chained else 0.0
    if surface - max(0.0, usual) >= limit + slack and float(looks.shape[i]) < 3.0:
        patch = looks.patch[i] or looks.sudden_patch[i]
        where = f" around the {patch}" if patch else ""
        words = f"something seems to cover a part of the face{where}: skin and edges are unusual"
        return [Finding("occluded", _steep(surface / limit, 0.5), surface, limit, words)]
    return []


def _masked(known: Measurements, i: int) -> list[Finding]:
    share = float(known.value("masked_out")[i])
    limit = max(MASKED_OUT, known.usual("masked_out") + 0.2)
    if math.isnan(share) or share <= limit:
        return []
    words = f"its mask leaves out {share:.0%} of the face"
    return [Finding("occluded", _steep(share / limit, 0.5), share, limit, words)]


def _offset_words(offset: Floats) -> str:
    x, y, stretch, turn = (float(v) for v in offset)
    parts = []
    if math.hypot(x, y) >= 0.04:
        across = f"{abs(x):.0%} to the {'right' if x > 0 else 'left'}" if abs(x) >= 0.03 else ""
        down = f"{abs(y):.0%} too {'low' if y > 0 else 'high'}" if abs(y) >= 0.03 else ""
        parts.append("the landmarks lie " + " and ".join(p for p in (across, down) if p))
    if abs(turn) >= math.radians(5):
        parts.append(f"they are turned by {math.degrees(abs(turn)):.0f}°")
    if abs(stretch) >= 0.07:
        size = "large" if stretch > 0 else "small"
        parts.append(f"they are {abs(math.expm1(stretch)):.0%} too {size}")
    return ", ".join(parts) or "the landmarks do not fit the picture"


def _likeness_words(looks: Appearance, i: int) -> str:
    named = {
        "proportions": float(looks.shape[i]),
        "features": float(looks.texture[i]),
        "colours": max(float(looks.colour[i]), float(looks.tone[i])),
    }
    some = [name for name, value in sorted(named.items(), key=lambda n: -n[1]) if value >= 2.0]
    some = some or ["looks"]
    return (" and ".join(some[:2])) + " are"


def _worth(known: Measurements, findings: Sequence[Sequence[Finding]]) -> list[float]:
    """Which of two equal faces to keep: the one with fewer faults, then the sharper, larger one."""
    blur = np.nan_to_num(known.value("blur"), nan=9.0)
    side = known.value("side")
    return [
        score_of(tuple(some)) - 5 * float(blur[i]) + 1e-3 * float(side[i])
        for i, some in enumerate(findings)
    ]


def _values(known: Measurements, judged: Judged, i: int) -> dict[str, float]:
    looks = judged.looks
    unlike = float(looks.texture[i] + looks.shape[i] + looks.colour[i])
    fit = judged.fit
    return {
        "blur": float(known.value("blur")[i]),
        "face_px": float(known.value("face_px")[i]),
        "exposure": float(known.value("luma")[i]),
        "misaligned": math.nan if fit is None else float(fit.displacement[i]),
        "occluded": float(looks.covered[i]),
        "unlike": unlike,
    }


def _steep(ratio: float, least: float = 0.5) -> float:
    """Severity of something that is *ratio* times its limit: *least* at 1, 1 from 2 on."""
    return float(min(1.0, least + (1 - least) * max(0.0, ratio - 1)))
