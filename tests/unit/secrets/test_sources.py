"""Each origin gives its value, or says in one line what is missing; and neither text nor command line has any of it."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ringfence.model.secrets import Origin, SecretSource
from ringfence.secrets import sources
from ringfence.secrets.sources import Found, Missing, Outside, described, read

VALUE = "ghp_0123456789abcdefghijABCDEFGHIJ012345"


class Programs:
    """Stands in for programs: remembers what was started, answers with one status and text."""

    def __init__(self, status: int = 0, printed: bytes = b"", error: Exception | None = None) -> None:
        self.status, self.printed, self.error = status, printed, error
        self.started: list[list[str]] = []

    def __call__(self, words: Sequence[str], timeout_s: float) -> tuple[int, bytes]:
        self.started.append(list(words))
        if self.error:
            raise self.error
        return self.status, self.printed


def outside(execute: Callable[[Sequence[str], float], tuple[int, bytes]] | None = None, **variables: str) -> Outside:
    return Outside(environment=variables, home="/nowhere", execute=execute or Programs())


def value(found: Found | Missing) -> str:
    assert isinstance(found, Found), found
    return found.value.reveal().decode()


def missing(found: Found | Missing) -> Missing:
    assert isinstance(found, Missing), "a value"
    assert "\n" not in found.reason + found.hint
    return found


def test_a_variable() -> None:
    source = SecretSource(origin=Origin.ENVIRONMENT, locator="TOKEN")
    assert value(read(source, outside(TOKEN=VALUE))) == VALUE
    assert "`TOKEN` is not set" in missing(read(source, outside())).reason
    assert missing(read(source, outside(TOKEN=""))).reason == "it is empty"
    assert "set it to the value" in missing(read(source, outside(TOKEN=""))).hint


def test_a_variable_that_is_no_text() -> None:
    source = SecretSource(origin=Origin.ENVIRONMENT, locator="TOKEN")
    assert missing(read(source, outside(TOKEN="z\udce9-secret-word"))).reason == "it is not UTF-8 text"
    assert value(read(source, outside(TOKEN="z\xe9-secret-word"))) == "z\xe9-secret-word"


def test_a_file_and_one_of_its_fields(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(VALUE + "\n")
    file.chmod(0o600)
    source = SecretSource(origin=Origin.FILE, locator=str(file))
    found = read(source, outside())
    assert value(found) == VALUE and isinstance(found, Found) and not found.warning
    file.write_text(f'{{"claude": {{"accessToken": "{VALUE}"}}}}')
    field = SecretSource(origin=Origin.FILE, locator=str(file), field="claude.accessToken")
    assert value(read(field, outside())) == VALUE
    other = SecretSource(origin=Origin.FILE, locator=str(file), field="claude.refreshToken")
    assert "has no field `claude.refreshToken`" in missing(read(other, outside())).reason


def test_a_file_in_the_home_directory(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(VALUE)
    (tmp_path / "token").chmod(0o640)
    place = Outside(environment={}, home=str(tmp_path), execute=Programs())
    found = read(SecretSource(origin=Origin.FILE, locator="~/token"), place)
    assert value(found) == VALUE
    assert isinstance(found, Found) and found.warning == "`~/token` can be read by others: `chmod 600` it"


def test_a_file_that_anybody_may_write_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(VALUE)
    file.chmod(0o602)
    found = missing(read(SecretSource(origin=Origin.FILE, locator=str(file)), outside()))
    assert "anybody may write to it" in found.reason and "chmod" in found.hint


def test_a_command_is_given_its_words_and_nothing_else() -> None:
    programs = Programs(printed=VALUE.encode() + b"\r\n")
    source = SecretSource(origin=Origin.COMMAND, argv=("pass", "show", "a b; $(c)"))
    assert value(read(source, outside(programs))) == VALUE
    assert programs.started == [["pass", "show", "a b; $(c)"]]


@pytest.mark.parametrize(
    ("programs", "reason"),
    [
        (Programs(status=1, printed=VALUE.encode()), "`pass` ended with exit status 1"),
        (Programs(status=-9, printed=VALUE.encode()), "`pass` ended with signal 9"),
        (Programs(error=FileNotFoundError()), "`pass` is not installed, or cannot be executed"),
        (Programs(error=PermissionError()), "`pass` is not installed, or cannot be executed"),
        (Programs(error=TimeoutError()), "`pass` did not end within 20 s"),
        (Programs(), "it is empty"),
        (Programs(printed=b"\x1b[31msecret-in-red"), "it has control characters"),
        (Programs(printed=b"x" * 70_000), "it has more than 65536 bytes"),
    ],
)
def test_a_command_that_fails(programs: Programs, reason: str) -> None:
    found = missing(read(SecretSource(origin=Origin.COMMAND, argv=("pass", "show", "x")), outside(programs)))
    assert found.reason == reason and found.hint
    assert VALUE not in found.reason + found.hint


def test_aws_and_its_fields() -> None:
    programs = Programs(printed=f'{{"user": "u", "password": "{VALUE}"}}\n'.encode())
    source = SecretSource(origin=Origin.AWS, locator="prod/--db#password")
    assert value(read(source, outside(programs))) == VALUE
    assert programs.started[0][:4] == ["aws", "secretsmanager", "get-secret-value", "--secret-id=prod/--db"]
    other = SecretSource(origin=Origin.AWS, locator="prod/db#nothing")
    assert missing(read(other, outside(programs))).reason == "`prod/db` has no field `nothing`"
    binary = SecretSource(origin=Origin.AWS, locator="prod/key")
    assert missing(read(binary, outside(Programs(printed=b"None\n")))).reason == "`prod/key` holds no text"


def test_one_password() -> None:
    programs = Programs(printed=VALUE.encode())
    source = SecretSource(origin=Origin.ONE_PASSWORD, locator="op://vault/item/field")
    assert value(read(source, outside(programs))) == VALUE
    assert programs.started == [["op", "read", "--no-newline", "op://vault/item/field"]]
    assert (
        "no reference"
        in missing(read(SecretSource(origin=Origin.ONE_PASSWORD, locator="--help"), outside(programs))).reason
    )
    assert len(programs.started) == 1


def test_the_keyring_is_asked_by_a_program_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    source = SecretSource(origin=Origin.KEYRING, locator="service/me/too")
    programs = Programs(printed=VALUE.encode())
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "ringfence[keyring]" in missing(read(source, outside(programs))).hint
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert value(read(source, outside(programs))) == VALUE
    assert programs.started[0][-2:] == ["service", "me/too"]


@pytest.mark.parametrize(
    ("status", "reason", "hint"),
    [
        (3, "there is no keyring", "DBUS_SESSION_BUS_ADDRESS"),
        (4, "the keyring is locked", "unlock it"),
        (5, "the keyring has nothing for `service/me`", "`keyring set service me` stores it"),
        (1, "`keyring` ended with exit status 1", "`keyring get service me` shows why"),
    ],
)
def test_what_is_wrong_with_the_keyring(status: int, reason: str, hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    programs = Programs(status=status, printed=VALUE.encode())
    found = missing(read(SecretSource(origin=Origin.KEYRING, locator="service/me"), outside(programs)))
    assert found.reason == reason and hint in found.hint and VALUE not in found.reason + found.hint


def test_every_origin_has_a_reader_and_a_description() -> None:
    for origin in Origin:
        missing(read(SecretSource(origin=origin, locator="a/b#c", argv=("a",)), outside()))
        assert described(SecretSource(origin=origin, locator="a")) == f"{origin.value} a"
    assert described(SecretSource(origin=Origin.COMMAND, argv=("pass", "x"))) == "command pass x"
    assert described(SecretSource(origin=Origin.FILE, locator="/f", field="a.b")) == "file /f#a.b"


def test_what_was_read_is_not_shown() -> None:
    found = read(SecretSource(origin=Origin.ENVIRONMENT, locator="TOKEN"), outside(TOKEN=VALUE))
    assert VALUE not in repr(found) and VALUE not in str(found)
    assert sources.TIMEOUT_S == 20
