"""What the jobs of a workspace do: one line each, with a bar, figures and the time left."""

from collections.abc import Sequence

from rich.style import Style
from textual.strip import Strip

from recaster_tui.jobs import JobState, JobStatus
from recaster_tui.ui import words
from recaster_tui.ui.palette import Palette
from recaster_tui.ui.widgets.panel import Lines, Words, sides

NAMES = {
    "extract": "extracting",
    "check": "checking",
    "mask": "masking",
    "sort": "sorting",
}
_SIDES = {"src": "source", "dst": "destination"}
_BLOCKS = " ▏▎▍▌▋▊▉█"
_STYLES = {
    JobStatus.RUNNING: "state-busy",
    JobStatus.DONE: "state-good",
    JobStatus.STOPPED: "state-hold",
    JobStatus.FAILED: "state-bad",
    JobStatus.LOST: "state-bad",
}


class JobLines(Lines):
    """One line a job; as high as there are jobs to tell of."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.jobs: tuple[JobState, ...] = ()

    def show(self, jobs: Sequence[JobState]) -> None:
        """Show these; without any the widget goes."""
        many = len(jobs)
        if many != len(self.jobs):
            self.styles.height = many
            self.display = many > 0
        self.jobs = tuple(jobs)
        self.update_lines()

    def lines(self, width: int, height: int) -> list[Strip]:
        """One strip a job."""
        return [job_line(job, self.colours, width) for job in self.jobs][:height]


def job_line(job: JobState, colours: Palette, width: int) -> Strip:
    """Bar, figures and the time left; how it ended, once it has."""
    colour = colours.style(_STYLES[job.status], bold=True)
    line = Words().add(" ")
    what = f"{NAMES.get(job.kind, job.kind)} {_SIDES.get(job.side, job.side)}"
    if job.status is JobStatus.RUNNING:
        line.add(f"{what} ", colour)
        right = Words()
        if job.eta_seconds is not None:
            right.add(f"{words.duration(job.eta_seconds)} left  ", colours.style("text", bold=True))
        right.add("x", colours.style("accent", bold=True)).add(" stops ", colours.muted())
        if job.fraction is not None:
            room = max(6, min(30, width // 5))
            bar(line, job.fraction, room, colours)
            line.add(f" {job.fraction:.0%}", colours.style("text", bold=True))
            line.add(f"  {job.current:,} of {job.total:,}", colours.muted())
        elif job.current:
            line.add(f" {job.current:,}", colours.style("text", bold=True))
        counts = [f"{value:,} {_plain(key)}" for key, value in job.counts.items()]
        more = " · ".join([*counts, *([job.text] if job.text and width >= 110 else [])])
        return sides(_shortened(line, more, width - right.length - 2, colours), right, width)
    ended = {
        JobStatus.DONE: "done",
        JobStatus.STOPPED: "stopped",
        JobStatus.FAILED: "failed",
        JobStatus.LOST: "ended unexpectedly",
    }[job.status]
    line.add(f"{what}: {ended}", colour).add(f" after {words.duration(job.seconds)}",
                                             colours.muted())  # fmt: skip
    right = Words().add("esc", colours.style("accent", bold=True)).add(" hides ", colours.muted())
    text = job.text or "".join(job.notes[-1:])
    text = text or " · ".join(f"{value:,} {_plain(key)}" for key, value in job.counts.items())
    if job.hint and job.status in (JobStatus.FAILED, JobStatus.LOST):
        text = f"{text} – {job.hint}" if text else job.hint
    return sides(_shortened(line, text, width - right.length - 2, colours), right, width)


def bar(line: Words, fraction: float, width: int, colours: Palette) -> None:
    """A bar in eighths of a cell."""
    eighths = round(max(0.0, min(1.0, fraction)) * width * 8)
    whole, part = divmod(eighths, 8)
    done = "█" * whole + (_BLOCKS[part] if part else "")
    look: Style = colours.style("state-busy") + colours.tint("text", 0.12)
    line.add(done.ljust(width), look)


def _shortened(line: Words, text: str, width: int, colours: Palette) -> Words:
    room = width - line.length - 2
    if not text or room < 6:
        return line
    shown = text if len(text) <= room else text[: room - 1] + "…"
    return line.add(f"  {shown}", colours.muted())


def _plain(key: str) -> str:
    return key.replace("_", " ")
