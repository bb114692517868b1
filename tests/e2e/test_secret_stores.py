"""Secrets out of real stores, from the store to the host that they are for, and never inside.

A desktop's keyring behind a bus of its own, and the real `aws`; what is wrong with them is told before anything starts.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.commands import Commands
from tests.e2e.credentials import Client, authorization
from tests.integration.secret_stores import Session, secrets_manager
from tests.lab import Lab

pytestmark = [pytest.mark.require("bubblewrap", "userns", "overlay", "network-lab", "curl"), pytest.mark.timeout(400)]
VALUE = "StoreValue0123456789abcdefghij"
HOST = "git.example.com"
POLICY = f"""
[network]
allow = ["{HOST}"]
[secrets.kept]
source = {{{{ {{source}} }}}}
inject = [{{{{ host = "{HOST}", header = "authorization" }}}}]
variables = ["TOKEN"]
"""
LOOK = f'env; curl -sS -m60 -H "Authorization: Bearer $TOKEN" https://{HOST}/echo-in/raw'


@pytest.fixture
def client(lab: Lab, ringfence: Commands) -> Client:
    """Give a client for each kind of account."""
    return Client(lab, ringfence)


@pytest.fixture
def session(client: Client, open_path: Path) -> Iterator[Session]:
    """The account's desktop session."""
    found = Session(open_path / "session", client.commands.account)
    try:
        yield found
    finally:
        found.close()


def used(client: Client, source: str, **variables: str) -> str:
    """Use a value as a run does; what was printed inside."""
    options = client.policy(POLICY.format(source=source))
    checked = client.run("ringfence", "secrets", "check", *options, **variables)
    assert checked.returncode == 0 and checked.stdout.split()[0] == "ok", checked.stdout + checked.stderr
    done = client.run("ringfence", "run", *options, "--", "sh", "-c", LOOK, **variables)
    assert done.returncode == 0, done.stderr
    for said in (checked.stdout, checked.stderr, done.stdout, done.stderr):
        assert VALUE not in said
    assert [authorization(entry) for entry in client.arrived(HOST)] == [f"Bearer {VALUE}"]
    assert not client.holds(VALUE)
    return done.stdout


def refused(client: Client, source: str, **variables: str) -> str:
    """Try to use what cannot be had; what the operator is told, the same by `run` and by `secrets check`."""
    options = client.policy(POLICY.format(source=source))
    checked = client.run("ringfence", "secrets", "check", *options, **variables)
    assert checked.returncode == 1 and checked.stdout.split()[0] == "missing", checked.stdout + checked.stderr
    done = client.run("ringfence", "run", *options, "--", "touch", "started", **variables)
    assert done.returncode == 2 and not (client.workspace / "started").exists(), done.stdout + done.stderr
    assert VALUE not in checked.stdout + checked.stderr + done.stdout + done.stderr
    reason = done.stderr.splitlines()[0].partition("the secret `kept`: ")[2]
    assert reason and reason in checked.stdout, (done.stderr, checked.stdout)
    return done.stderr


@pytest.mark.require("dbus-daemon", "dbus-send", "gnome-keyring-daemon", "secret-tool", "keyring-package")
def test_a_value_of_the_desktop_s_keyring(client: Client, session: Session) -> None:
    session.store("forge", "me", VALUE)
    bus = {"DBUS_SESSION_BUS_ADDRESS": session.address}
    inside = used(client, 'keyring = "forge/me"', **bus)
    assert session.address not in inside  # a keyring that a program inside could ask would be of no use
    assert "the keyring has nothing for `forge/you`" in refused(client, 'keyring = "forge/you"', **bus)
    session.lock()
    assert "the keyring is locked" in refused(client, 'keyring = "forge/me"', **bus)
    assert "there is no keyring" in refused(client, 'keyring = "forge/me"')


@pytest.mark.require("aws")
def test_a_value_of_aws_secrets_manager(client: Client) -> None:
    def start(words: list[str]) -> "subprocess.Popen[bytes]":
        return client.lab.popen(words, stdout=subprocess.PIPE)

    with secrets_manager({"app": json.dumps({"token": VALUE})}, start) as variables:
        used(client, 'aws = "app#token"', **variables)
        assert "has no field `key`" in refused(client, 'aws = "app#key"', **variables)
