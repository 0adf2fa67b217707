"""``python fake_trainer.py RUN_FOLDER``: the real trainer process with the fake model in it."""

import sys
from pathlib import Path
from types import SimpleNamespace

from trainer_fakes import FakeData, FakeModel

from recaster_tui.training import process
from recaster_tui.training.__main__ import configure_log
from recaster_tui.training.start import start

if __name__ == "__main__":
    configure_log()
    face_set = SimpleNamespace(folder=Path(), faces=[None] * 9, skipped=[])
    process.load_faces = lambda *_: {"src": face_set, "dst": face_set}  # type: ignore[assignment]
    sys.exit(start(Path(sys.argv[1]), build_model=FakeModel, open_data=FakeData))
