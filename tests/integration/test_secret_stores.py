"""What a keyring and AWS say when something is wrong, in one line each, and never with a value in it.

The programs and the keyring are real; see secret_stores.py. 1Password's `op` is in no registry: there it is a stand-in
(tests/unit/secrets/test_sources.py).
"""

import json
import os
import pwd
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from ringfence.model.secrets import Origin, SecretSource
from ringfence.sandbox.programs import output_of
from ringfence.secrets import sources
from ringfence.secrets.sources import Found, Outside
from tests.integration.secret_stores import Session, secrets_manager
from tests.paths import wait_until

VALUE = "a-value-of-the-store-0123456789"
SHORT_S = 3.0  # for what never answers
LONG_S = 100.0  # for `aws` and Python to start on a busy machine


def read(source: SecretSource, variables: Mapping[str, str], timeout_s: float = LONG_S) -> str:
    """The value; or what is missing, which no value is in."""
    found = sources.read(
        source,
        Outside(
            environment=variables, home="/nowhere", execute=lambda words, _: output_of(words, variables, timeout_s)
        ),
    )
    if isinstance(found, Found):
        return found.value.reveal().decode()
    assert found.hint
    assert VALUE not in found.reason + found.hint and "\n" not in found.reason + found.hint
    return found.reason


# ---- the keyring of a desktop


@pytest.fixture
def session(open_path: Path) -> Iterator[Session]:
    """A session whose keyring is unlocked and has one value."""
    found = Session(open_path / "session", pwd.getpwuid(os.geteuid()))
    try:
        found.store("service", "me", VALUE)
        yield found
    finally:
        found.close()


KEYRING = SecretSource(origin=Origin.KEYRING, locator="service/me")
PROGRAMS = ("dbus-daemon", "dbus-send", "gnome-keyring-daemon", "secret-tool", "keyring-package")
needs_keyring = pytest.mark.require(*PROGRAMS)


def comes_to(session: Session, source: SecretSource, expected: str) -> bool:
    """Whether that is read in the end: the package gives a bus one second to answer, and says that there is none."""
    return wait_until(lambda: read(source, session.variables) == expected)


@needs_keyring
def test_a_value_of_the_keyring_and_one_that_is_not_there(session: Session) -> None:
    assert comes_to(session, KEYRING, VALUE)
    absent = SecretSource(origin=Origin.KEYRING, locator="service/--help")
    assert comes_to(session, absent, "the keyring has nothing for `service/--help`")


@needs_keyring
def test_a_keyring_that_is_locked_or_gone(session: Session) -> None:
    session.lock()
    assert comes_to(session, KEYRING, "the keyring is locked")
    session.leave()
    assert read(KEYRING, session.variables) == "there is no keyring"
    session.bus.kill()
    session.bus.wait()
    assert read(KEYRING, session.variables) == "there is no keyring"
    assert read(KEYRING, {**session.variables, "DBUS_SESSION_BUS_ADDRESS": ""}) == "there is no keyring"


@needs_keyring
def test_a_keyring_that_does_not_answer_is_not_waited_for(session: Session) -> None:
    session.daemon.send_signal(signal.SIGSTOP)
    assert read(KEYRING, session.variables, SHORT_S) == f"`keyring` did not end within {sources.TIMEOUT_S:.0f} s"
    session.bus.send_signal(signal.SIGSTOP)
    assert read(KEYRING, session.variables) == "there is no keyring"


# ---- AWS Secrets Manager


@pytest.fixture
def variables(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of somebody who is signed in to AWS."""

    def start(words: list[str]) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(words, stdout=subprocess.PIPE)

    kept = {"app": VALUE, "prod/db": json.dumps({"user": "u", "password": VALUE})}
    with secrets_manager(kept, start) as found:
        yield {"HOME": str(tmp_path), "PATH": os.environ["PATH"], **found}


def aws(locator: str) -> SecretSource:
    return SecretSource(origin=Origin.AWS, locator=locator)


@pytest.mark.require("aws")
def test_a_value_of_secrets_manager(variables: dict[str, str]) -> None:
    for locator in ("app", "prod/db#password"):
        assert read(aws(locator), variables) == VALUE


@pytest.mark.require("aws")
@pytest.mark.parametrize(
    ("locator", "reason"),
    [
        ("prod/db#other", "`prod/db` has no field `other`"),
        ("binary", "`binary` holds no text"),
        ("nothing", "`aws` ended with exit status "),
        ("denied", "`aws` ended with exit status "),
        ("broken", "`aws` ended with exit status "),
    ],
)
def test_what_secrets_manager_does_not_give(variables: dict[str, str], locator: str, reason: str) -> None:
    assert read(aws(locator), variables).startswith(reason)


@pytest.mark.require("aws")
@pytest.mark.parametrize("without", ["AWS_ACCESS_KEY_ID", "AWS_DEFAULT_REGION"])
def test_aws_without_what_it_needs(variables: dict[str, str], without: str) -> None:
    del variables[without]
    assert read(aws("app"), variables).startswith("`aws` ended with exit status ")


@pytest.mark.require("aws")
def test_a_service_that_does_not_answer_is_not_waited_for(variables: dict[str, str]) -> None:
    assert read(aws("silent"), variables, SHORT_S) == f"`aws` did not end within {sources.TIMEOUT_S:.0f} s"
