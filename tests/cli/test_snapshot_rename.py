"""``recaster snapshot rename`` says what is wrong first."""

from pathlib import Path

import pytest

from recaster_tui.cli.snapshot_run import rename_one
from recaster_tui.errors import BadInputError


def test_a_name_that_is_not_there_is_said_before_what_is_missing(tmp_path: Path) -> None:
    for folder in ("data_src/aligned", "data_dst/aligned", "model/a.quick96/generations"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "model/a.quick96/CURRENT").write_text("000000010\n")
    with pytest.raises(BadInputError, match="nope"):
        rename_one(tmp_path, "nope", None, None, None)
