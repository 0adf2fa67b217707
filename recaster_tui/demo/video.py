"""The demo's clips: H.264 in MP4, made of the frames on disk."""

import os
from pathlib import Path

import av
import cv2
import numpy as np

from recaster_tui.demo.plan import DemoFiles, DemoPlan
from recaster_tui.errors import DamagedError

# No B-frames: x264 places them differently from run to run in small pictures (seen at 192x144).
_OPTIONS = {"crf": "17", "preset": "veryfast", "bf": "0"}


def write_video(folder: Path, plan: DemoPlan, side: str) -> None:
    """Encode all frames of *side* in order; the file appears when it is whole.

    Raises:
        DamagedError: a frame is missing or unreadable.
        OSError: the disk does not take it.
    """
    files = DemoFiles(folder)
    path = files.video(side)
    temporary = path.with_name(f".{path.name}.tmp")
    width, height = plan.frame_size
    try:
        with av.open(temporary, "w", format="mp4") as output:
            stream = output.add_stream("libx264", rate=plan.rate, options=_OPTIONS)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for index in range(plan.faces):
                picture = cv2.imread(str(files.frame(side, index)), cv2.IMREAD_COLOR)
                if picture is None or picture.shape != (height, width, 3):
                    raise DamagedError(
                        "a frame of the demo is damaged",
                        where=files.frame(side, index),
                        hint="remove this file and run the demo again",
                    )
                # Not left to swscale: its rounding depends on where in memory a picture lies.
                planes = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420), np.uint8)
                frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
                frame.pts = index
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
