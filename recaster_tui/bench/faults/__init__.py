"""Breaking things on purpose: ``recaster bench faults``, and what the tests of faults use.

A fork server (:mod:`.forkserver`) starts real trainers at once; each dies by SIGKILL at a random
instant or at a chosen system call (:mod:`.fileops`, :mod:`.victim`); an independent reader
(:mod:`.judge`) looks at what is left, also at what a power cut might have left (:mod:`.powercut`).
:mod:`.campaign` holds the rounds, :mod:`.inject` the faults of a training that goes wrong.
"""

from recaster_tui.errors import BadInputError

ROUNDS = 500


def main(rounds: int | None = None, *, as_json: bool = False) -> int:
    """Kill the program so many times and print what was lost; 0 where nothing was.

    Raises:
        BadInputError: *rounds* is not a number of rounds.
    """
    from recaster_tui.bench.faults import kills

    if rounds is not None and rounds < 1:
        raise BadInputError(f"{rounds} rounds cannot be done", hint="for example --rounds 20")
    return kills.main(rounds or ROUNDS, as_json=as_json)
