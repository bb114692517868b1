"""Files that hold secrets: their modes, and the fields of every format that tools keep tokens in."""

import os
from pathlib import Path

import pytest

from ringfence.secrets import sources_files
from ringfence.secrets.sources_files import HINTS, field, loose, read

NPMRC = b"; mine\n//npm.example.com/:_authToken=npm_abc\nemail = me@example.com\n"
AWS = b"[default]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key=wJalr/x=\n[other.one]\nkey = 'q'\n"
DOTENV = b'# of tests\nexport API_KEY="k=1"\nEMPTY=\n'


@pytest.mark.parametrize(
    ("data", "path", "found"),
    [
        (b'{"a": {"b": "c"}}', "a.b", b"c"),
        (b'{"a.b": {"c.d": "e"}}', "a.b.c.d", b"e"),
        (b'{"a": {"x": 1}, "a.b": "c"}', "a.b", b"c"),
        (b'{"a": [{"b": "c"}, {"b": 7}]}', "a.1.b", b"7"),
        (b'{"a": [1]}', "a.5", None),
        (b'{"a": [1]}', "a.b", None),
        (b'{"a": {"b": "c"}}', "a", None),
        (b'{"a": true}', "a", None),
        (b'{"a": null}', "a", None),
        (b'{"a": "b"}', "a.b", None),
        (b'[tool]\nname = "x"\nport = 8080\n', "tool.port", b"8080"),
        (NPMRC, "//npm.example.com/:_authToken", b"npm_abc"),
        (AWS, "default.aws_secret_access_key", b"wJalr/x="),
        (AWS, "other.one.key", b"q"),
        (AWS, "default.nothing", None),
        (DOTENV, "API_KEY", b"k=1"),
        (DOTENV, "EMPTY", b""),
        (b"\xff\xfe\x00", "a", None),
        (b"", "a", None),
    ],
)
def test_a_field(data: bytes, path: str, found: bytes | None) -> None:
    assert field(data, path) == found


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (0o600, ""),
        (0o400, ""),
        (0o640, "can be read by others"),
        (0o604, "can be read by others"),
        (0o660, "can be written by its group"),
        (0o711, ""),
    ],
)
def test_what_is_unwise_about_a_mode(mode: int, said: str) -> None:
    assert loose(mode) == said


def test_what_is_no_file(tmp_path: Path) -> None:
    assert read(str(tmp_path / "none")) == "there is no such file"
    assert read(str(tmp_path)) == "it is not a file"
    assert "it is not a file" in HINTS
    os.mkfifo(tmp_path / "pipe")
    assert read(str(tmp_path / "pipe")) == "it is not a file"  # and nobody waits for a writer
    (tmp_path / "loop").symlink_to("loop")
    assert read(str(tmp_path / "loop")) == "it cannot be read"


def test_a_file_without_end(tmp_path: Path) -> None:
    with open(tmp_path / "large", "wb") as file:
        file.truncate(sources_files.FILE_BYTES + 1)
    assert isinstance(read(str(tmp_path / "large")), str)


def test_a_link_to_a_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"value")
    (tmp_path / "real").chmod(0o600)
    (tmp_path / "link").symlink_to("real")
    assert read(str(tmp_path / "link")) == (b"value", "")
