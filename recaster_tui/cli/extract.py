"""``recaster extract``. The body imports late."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Group, Parameter

from recaster_tui.cli.documented import documented

Json = Annotated[bool, Parameter(name="--json", negative="", show_default=False)]
Flag = Annotated[bool, Parameter(negative="", show_default=False)]
Hidden = Parameter(show=False)
Number = Annotated[int, Parameter(show_default=False)]


def register(app: App, group: Group) -> None:
    """Add the command."""
    app.command(documented(extract), group=group)


def extract(
    workspace: Path,
    side: Literal["src", "dst"],
    /,
    *,
    input: Path | None = None,  # noqa: A002 - the option's name
    face_type: Literal["half", "midfull", "full", "whole", "head"] = "whole",
    size: Number = 0,
    quality: int = 90,
    max_faces: Number = 0,
    every: Annotated[int, Parameter(show_default=False)] = 1,
    fps: float | None = None,
    smooth: Flag = False,
    debug: Flag = False,
    frames: Literal["jpg", "png", "none"] = "jpg",
    prefix: Annotated[str, Parameter(show_default=False)] = "",
    detector: str = "mediapipe",
    weights: Path | None = None,
    fresh: Flag = False,
    workers: int | None = None,
    json: Json = False,
    job: Annotated[Path | None, Hidden] = None,
    timeout: Annotated[float, Hidden] = 120.0,
) -> int:
    """Find the faces of a video or of a folder of frames, and write them as aligned faces.

    Reads the frames in data_src (or data_dst), where there are none the video data_src.*; writes
    data_src/aligned and the report data_src/extraction.toml. Stopped by ctrl-c, the same command
    goes on where it was. Faces that are there are never overwritten.

    Parameters
    ----------
    workspace
        Project folder.
    side
        Whose faces.
    input
        Read this video or folder of pictures instead.
    face_type
        How much of the head is shown.
    size
        Side of a face in pixels, 256 to 2048. Without it 512, for heads 768.
    quality
        JPEG quality of the faces, 1 to 100.
    max_faces
        Only the largest so many faces of a frame; 0 takes all.
    every
        Only every Nth frame.
    fps
        Only so many frames a second of a video.
    smooth
        Smooth the landmarks over time; for videos with little movement between frames.
    debug
        Also write each frame with what was found in it, to aligned_debug.
    frames
        Frames of a video are written to data_src as jpg or png (DeepFaceLab's merger reads them
        there), or not at all.
    prefix
        Put before the frame numbers of a video: adds its faces to those of another one.
    detector
        mediapipe, mediapipe-thorough (slower: also small faces beside large ones, and faces
        upside down), s3fd-fan (with --weights), or module:factory of your own.
    weights
        The detector's weights, where it does not bring them: for s3fd-fan the folder that holds
        DeepFaceLab's S3FD.npy and 2DFAN.npy.
    fresh
        Move the faces that are there to aligned_trash and begin anew.
    workers
        Processes; without it one per core.
    json
        The report as JSON on stdout, the progress as JSON lines on stderr.
    """
    from recaster_tui.cli.extract_run import run_extract
    from recaster_tui.extraction.settings import ExtractSettings
    from recaster_tui.faces.types import FaceType

    settings = ExtractSettings(
        input=input,
        face_type=FaceType(face_type),
        size=size,
        quality=quality,
        max_faces=max_faces,
        every=every,
        fps=fps,
        smooth=smooth,
        debug=debug,
        detector=detector,
        weights=weights,
        fresh=fresh,
        frames=frames,
        prefix=prefix,
        workers=workers,
        timeout=timeout,
    )
    return run_extract(workspace, side, settings, as_json=json, job=job)
