"""A helper process of the extraction: decodes a video into shared memory.

A process of its own, because a hostile file may end or hang the decoder: then what was decoded
so far stays, and the extraction says what happened.
"""

import sys
import time

from recaster_tui.errors import RecasterError
from recaster_tui.extraction.children import child_connection
from recaster_tui.extraction.messages import (
    Alive,
    Decoded,
    Ended,
    Fatal,
    ReaderSetup,
    Room,
    SharedMemory,
    Slot,
)
from recaster_tui.extraction.video import Selection, VideoReader

_ALIVE_SECONDS = 1.0


def main(arguments: list[str]) -> int:
    """Decode until the video or the connection ends."""
    connection, descriptor = child_connection(arguments)
    memory = SharedMemory(descriptor)
    try:
        setup: ReaderSetup = connection.recv()
        selection, selected = Selection(setup.every, setup.fps), 0
        told = time.monotonic()

        def wanted(number: int, seconds: float) -> bool:
            nonlocal selected, told
            if time.monotonic() - told > _ALIVE_SECONDS:
                told = time.monotonic()
                connection.send(Alive(selected))
            if not selection.wanted(number, seconds):
                return False
            selected += 1
            return number not in setup.skip

        try:
            with VideoReader(setup.path) as video:
                connection.send(video.info)
                for frame in video.pictures(wanted):
                    room: Room = connection.recv()
                    height, width = frame.picture.shape[:2]
                    place = Slot(room.offset, height, width)
                    fits = place.size <= room.size  # not where the video changes its size
                    if fits:
                        memory.view(place)[:] = frame.picture
                    slot, pixels = (place, None) if fits else (None, frame.picture)
                    connection.send(
                        Decoded(frame.number, room, frame.damaged, selected, slot, pixels)
                    )
                connection.send(Ended(selected, tuple(video.problems)))
        except RecasterError as error:
            connection.send(Fatal.of(error))
            return 1
    except (EOFError, ConnectionError):
        pass  # the extraction is gone
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
