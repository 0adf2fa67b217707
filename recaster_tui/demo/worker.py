"""A helper process of :func:`make_demo`: ``python -m recaster_tui.demo.worker FOLDER PLAN``.

One job a line comes in on stdin (``src 12``, ``dst video``), one line goes out when it is
done: ``ok``, or a JSON object with the error. A plain pipe instead of ``multiprocessing``: no
re-import of the caller's main module, and a worker whose parent is gone sees the end of its
input and leaves.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from recaster_tui.demo.frames import write_frame
from recaster_tui.demo.plan import DemoPlan
from recaster_tui.demo.video import write_video
from recaster_tui.errors import RecasterError


@dataclass(frozen=True)
class Job:
    """One frame of a side, or (index None) its clip."""

    side: str
    index: int | None = None

    def run(self, folder: Path, plan: DemoPlan) -> None:
        """Do it, in this process."""
        if self.index is None:
            write_video(folder, plan, self.side)
        else:
            write_frame(folder, plan, self.side, self.index)

    def line(self) -> str:
        """As it goes through the pipe."""
        return f"{self.side} {'video' if self.index is None else self.index}\n"

    @classmethod
    def from_line(cls, line: str) -> "Job":
        """The inverse of :meth:`line`."""
        side, what = line.split()
        return cls(side, None if what == "video" else int(what))


def main(arguments: list[str]) -> int:
    """Serve jobs until the input ends."""
    import cv2

    cv2.setNumThreads(1)  # there is one worker per core already
    folder, plan = Path(arguments[0]), DemoPlan(**json.loads(arguments[1]))
    for line in sys.stdin:
        answer = "ok"
        try:
            Job.from_line(line).run(folder, plan)
        except RecasterError as error:
            problem = {"message": error.message, "where": error.where, "hint": error.hint}
            answer = json.dumps({**problem, "exit_code": int(error.exit_code)})
        except OSError as error:
            answer = json.dumps({"message": str(error), "os_error": True})
        sys.stdout.write(answer + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
