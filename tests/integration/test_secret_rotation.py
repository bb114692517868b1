"""New values in a live run: what answers have brought goes on to work, and what was a value once is still no text."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.egress_runs import Running, running, wait_for
from tests.integration.lab.accounts import REFRESH_TOKEN
from tests.integration.test_vault import PYTHON, authorizations, confined_vault, memory_has, run, vaults
from tests.lab import Lab

pytestmark = [pytest.mark.require("bubblewrap", "userns", "overlay", "network-lab", "curl")]
GOOD, OTHER = "www.public.example.net", "git.example.com"
OLD, NEW = ("gh" + "p_" + letters * 4 for letters in ("a1B2c3D4", "Z9y8X7w6"))
POLICY = f"""
version = 1
[network]
allow = ["{GOOD}", "{OTHER}"]
[secrets.service]
source = {{{{ file = "{{place}}/service" }}}}
inject = [{{{{ host = "{OTHER}", header = "authorization" }}}}]
variables = ["SERVICE"]
[secrets.refresh]
source = {{{{ file = "{{place}}/refresh" }}}}
inject = [{{{{ host = "{GOOD}", body = "refresh_token", paths = ["/oauth/token"] }}}}]
capture = [{{{{ host = "{GOOD}", paths = ["/oauth/token"], fields = {{{{ access_token = "access" }}}} }}}}]
variables = ["REFRESH"]
[secrets.access]
source = {{{{ env = "NO_SUCH_VARIABLE" }}}}
optional = true
inject = [{{{{ host = "{GOOD}", header = "authorization" }}}}]
"""
AGENT = f"""
import json, os, subprocess, sys
def curl(*words):
    return subprocess.run(["curl", "-sS", "-m50", *words], capture_output=True, text=True).stdout
def login():
    asked = {{"grant_type": "refresh_token", "refresh_token": os.environ["REFRESH"]}}
    said = curl("-HContent-Type: application/json", "-d", json.dumps(asked), "https://{GOOD}/oauth/token")
    return json.loads(said)["access_token"]
print("ready", flush=True)
for line in sys.stdin:
    verb, _, rest = line.strip().partition(" ")
    if verb == "login":
        said = login()
    elif verb == "use":
        said = curl("-HAuthorization: Bearer " + rest, "https://{GOOD}/hdr")
    elif verb == "service":
        said = curl("-HAuthorization: Bearer " + os.environ["SERVICE"], "https://{OTHER}/hdr")
    else:
        said = curl(rest)
    print(" ".join(said.split()), flush=True)
"""


@pytest.fixture
def place(home: Path) -> Iterator[Path]:
    """Where the sources are, outside of the workspace."""
    made = home / "sources"
    made.mkdir(mode=0o700)
    for name, value in (("service", OLD), ("refresh", REFRESH_TOKEN)):
        (made / name).write_text(value)
        (made / name).chmod(0o600)
    yield made
    for file in made.iterdir():
        file.unlink()
    made.rmdir()


@pytest.fixture
def live(lab: Lab, open_path: Path, place: Path) -> Iterator[Running]:
    (open_path / "policy.toml").write_text(POLICY.format(place=place))
    with running(lab, open_path, [PYTHON, "-c", AGENT], "--policy", str(open_path / "policy.toml")) as found:
        assert found.line() == "ready"
        yield found


def said(live: Running, words: str) -> str:
    live.tell(words)
    return live.line()


def reload(lab: Lab, live: Running, place: Path) -> None:
    done = run(lab, place, "secrets", "reload", "--run", live.directory.name)
    assert done.returncode == 0 and "read anew" in done.stdout, done
    wait_for(lambda: len(vaults(live.supervisor.pid)) == 1)


def test_a_login_outlives_a_reload(lab: Lab, place: Path, live: Running) -> None:
    """The token that an answer has brought is known to the old vault alone, which leaves it to the new one."""
    stand_in = said(live, "login")
    mark = lab.mark()
    assert stand_in in said(live, f"use {stand_in}")
    (place / "service").write_text(NEW)
    for _ in range(2):
        reload(lab, live, place)
        assert stand_in in said(live, f"use {stand_in}")
        said(live, "service")
    before, *after = authorizations(lab.since(mark, "http"))
    assert after == [before, f"Bearer {NEW}"] * 2
    assert stand_in not in before and before.startswith("Bearer ")
    token = before.removeprefix("Bearer ")
    if os.geteuid() == 0:  # nobody else may look into them
        assert not memory_has(live.supervisor.pid, token)
        assert memory_has(confined_vault(live), token)  # the control
    live.end()


def test_a_value_of_before_is_kept_out_of_answers_and_records(lab: Lab, place: Path, live: Running) -> None:
    (place / "service").write_text(NEW)
    reload(lab, live, place)
    for value in (OLD, NEW):
        answer = said(live, f"get https://{OTHER}/told/{value}")  # which names the path
        assert "/told/gh" in answer and value not in answer
    live.end()
    paths = [str(one["fields"].get("path", "")) for one in live.events("egress")]
    assert len([path for path in paths if path.startswith("/told/")]) == 2
    everything = json.dumps([one["fields"] for one in live.events("egress", "denial", "secret")])
    assert OLD not in everything and NEW not in everything


def test_a_vault_that_stands_still_leaves_nothing_and_is_replaced(lab: Lab, place: Path, live: Running) -> None:
    """What it held of logins is lost with it; the sources are read all the same."""
    (place / "service").write_text(NEW)
    os.kill(confined_vault(live), signal.SIGSTOP)
    done = run(lab, place, "secrets", "reload", "--run", live.directory.name)
    assert done.returncode == 0, done
    mark = lab.mark()
    said(live, "service")
    assert authorizations(lab.since(mark, "http")) == [f"Bearer {NEW}"]
    live.end()
