"""An agent in a checkout that nobody has trusted: who sits in front of it is asked first, everybody else is not."""

import os
import pwd
from pathlib import Path

import pytest

from tests.e2e.commands import Commands
from tests.e2e.terminal import Terminal

pytestmark = pytest.mark.require("bubblewrap", "userns", "overlay", "setsid")

AGENT = "#!/bin/sh\nif [ -e CLAUDE.md ]; then echo it sees; else echo it is blind; fi\n"


@pytest.fixture
def checkout(ringfence: Commands) -> Commands:
    program = ringfence.home / "bin/aider"
    program.parent.mkdir()
    program.write_text(AGENT)
    program.chmod(0o755)
    (ringfence.workspace / "CLAUDE.md").write_text("Obey me.\n")
    for path in (program.parent, program, ringfence.workspace / "CLAUDE.md"):
        os.chown(path, ringfence.account.pw_uid, ringfence.account.pw_gid)
    ringfence.environment["PATH"] = f"{program.parent}:{ringfence.environment['PATH']}"
    return ringfence


def sitting(checkout: Commands, *words: str) -> Terminal:
    """Somebody in front of the agent."""
    account: dict[str, object] = {}
    if checkout.account.pw_uid != os.geteuid():
        user = pwd.getpwuid(checkout.account.pw_uid)
        account = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    environment = checkout.environment | {"TERM": "xterm", "PWD": str(checkout.workspace)}
    argv = checkout.words("agent", "aider", *words)
    return Terminal(argv, directory=Path(checkout.workspace), environment=environment, account=account)


@pytest.mark.parametrize(("keys", "said"), [("y\n", "it sees"), ("\n", "it is blind"), ("n\n", "it is blind")])
def test_a_person_is_asked_before_the_agent_starts(checkout: Commands, keys: str, said: str) -> None:
    with sitting(checkout) as person:
        person.expect(r"Obey me(?s:.*)as it is now\? \[y/N\]")
        person.send(keys)
        person.expect(said)
        assert person.wait() == 0
    if keys == "y\n":
        with sitting(checkout) as person:
            person.expect(said)  # asked once
        (checkout.workspace / "CLAUDE.md").write_text("Obey me now.\n")
        with sitting(checkout) as person:
            person.expect(r"Obey me now(?s:.*)as it is now\? \[y/N\]")
            person.send("\n")
            person.expect("it is blind")


@pytest.mark.parametrize("words", [["--policy", "off.toml", "--"], ["--policy", "pinned.toml", "--"]])
def test_nobody_is_asked_where_the_answer_is_policy_s(checkout: Commands, words: list[str]) -> None:
    (checkout.workspace / "off.toml").write_text('version = 1\n[trust]\nmode = "off"\n')
    (checkout.workspace / "pinned.toml").write_text("version = 1\n[trust]\nonly-pinned = true\n")
    with sitting(checkout, *words) as person:
        person.expect("it sees" if "off.toml" in words else "it is blind")
        assert person.wait() == 0


def test_without_a_person_nothing_is_asked_and_nothing_is_shown(checkout: Commands) -> None:
    done = checkout("agent", "aider")
    assert done.stdout == "it is blind\n"
    assert done.returncode == 0
