"""Policy files that are there and cannot be read, each with what helps."""

from pathlib import Path

import pytest

from ringfence.model.errors import UsageError
from ringfence.session.prepare import read_layer


def refusal(path: Path) -> UsageError:
    with pytest.raises(UsageError) as caught:
        read_layer(str(path), "project")
    assert caught.value.place == str(path)
    return caught.value


def test_a_directory_that_cannot_be_entered_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch(mode=0o600)  # a file, since root may enter every directory
    found = refusal(tmp_path / "file/ringfence.toml")
    assert (found.message, found.hint) == (
        "cannot read policy: Not a directory",
        f"you may not enter `{tmp_path}/file`: look with `ls -ld {tmp_path}/file`",
    )


def test_a_file_that_is_no_text_is_told_by_itself(tmp_path: Path) -> None:
    (tmp_path / "ringfence.toml").write_bytes(b"\xff")
    assert refusal(tmp_path / "ringfence.toml").hint == "a policy must be readable UTF-8"
    (tmp_path / "folder").mkdir()
    assert refusal(tmp_path / "folder").message == "cannot read policy: Is a directory"


def test_what_is_not_there_says_nothing_unless_it_is_asked_for(tmp_path: Path) -> None:
    assert read_layer(str(tmp_path / "none.toml"), "user") == []
    with pytest.raises(UsageError, match="no policy file"):
        read_layer(str(tmp_path / "none.toml"), "cli", required=True)
