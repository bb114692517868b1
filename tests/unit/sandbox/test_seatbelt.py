"""Profiles for macOS: golden ones for the standard policies, what they refuse, and what they say of themselves."""

import os
from pathlib import Path

import pytest

from ringfence.model.errors import HostError
from ringfence.planner import build
from ringfence.sandbox import seatbelt
from tests.fake_host import MAIN as MAIN_REPOSITORY
from tests.fake_host import WORKSPACE as LINUX_WORKSPACE
from tests.fake_host import Host, filesystem, policy, repository, request, worktree
from tests.seatbelt import allowed, rules

GOLDEN = Path(__file__).parents[2] / "data" / "profiles"
MAC = "/Volumes/Home/user/project"
DENIALS = filesystem(deny_read=[".env", "~/.pyenv/cache/secret"], deny_write=["./setup.cfg", "./main.py"])
EGRESS = '[network]\nallow = ["api.example.com"]\npublish = [8000]\n'
MOUNT = "mounts = [{ source = '/srv/x', target = '/mnt/x' }]\n"
DIRECT = '[workspace]\nmode = "direct"\n'


def mac(files: dict[str, str] | None = None) -> Host:
    """A host whose home and workspace lie where only macOS has them."""
    return Host({f"{MAC}/main.py": "print()", **(files or {})}, home="/Volumes/Home/user")


SECRETS = {f"{MAC}/.env": "key", f"{MAC}/.envrc": "x", f"{MAC}/src/.env": "key"}
WORKTREE = Host({**repository(MAIN_REPOSITORY), **worktree()})
CASES: dict[str, tuple[str, Host, str]] = {
    "user": ("", mac(), MAC),
    "denials": (DENIALS, mac(SECRETS), MAC),
    "direct": (DENIALS + DIRECT, mac(SECRETS), MAC),
    "readonly": (f'{DENIALS}[workspace]\nmode = "readonly"\n', mac(SECRETS), MAC),
    "egress": (EGRESS, mac(), MAC),
    "worktree": (DIRECT, WORKTREE, LINUX_WORKSPACE),
}
PLACES = {"HOME": "/run/1/home", "TMP": "/run/1/tmp", "WORKSPACE": "/run/1/clone", "PROXY_PORT": "4711"}


def profile(text: str, host: Host, workspace: str) -> str:
    """The profile for a policy's text on a host."""
    asked = request(workspace)
    said = policy(text, home=host.home, workspace=workspace)
    facts = host.facts(said, asked)
    return seatbelt.profile(build.build(said, facts, asked), facts)


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    """To accept a change: RINGFENCE_GOLDEN=write, then read the difference."""
    found = profile(*CASES[name])
    file = GOLDEN / f"{name}.sb"
    if os.environ.get("RINGFENCE_GOLDEN") == "write":
        file.write_text(found, encoding="utf-8")
    assert file.read_text(encoding="utf-8") == found


def test_a_copy_on_write_workspace_is_written_in_its_clone_only() -> None:
    found = rules(profile(*CASES["denials"]))
    assert allowed(found, "file-read-data", f"{MAC}/main.py", PLACES)
    assert not allowed(found, "file-write-data", f"{MAC}/new", PLACES)
    assert allowed(found, "file-write-data", "/run/1/clone/new", PLACES)
    for path in ("/run/1/clone/.env", "/run/1/clone/src/.env", f"{MAC}/.env"):
        assert not allowed(found, "file-read-data", path, PLACES)
    for path in ("/run/1/clone/main.py", "/run/1/clone/setup.cfg"):
        assert not allowed(found, "file-write-create", path, PLACES)


def test_what_is_above_a_denial_cannot_be_moved_away() -> None:
    found = rules(profile(*CASES["direct"]))
    for path in (MAC, f"{MAC}/src"):
        assert not allowed(found, "file-write-unlink", path, PLACES)
        assert allowed(found, "file-write-create", path, PLACES)
    assert allowed(found, "file-write-unlink", f"{MAC}/src/other", PLACES)
    assert not allowed(found, "file-link", f"{MAC}/src/other", PLACES)


def test_the_network_is_off_or_one_port() -> None:
    off, on = profile(*CASES["user"]), profile(*CASES["egress"])
    assert "(remote ip" not in off
    assert on.count("(remote ip") == 1
    assert '(remote ip (string-append "localhost:" (param "PROXY_PORT")))' in on
    assert '(allow network-bind network-inbound (local ip "localhost:8000"))' in on
    assert on.index("(deny network*)") < on.index("(remote ip")
    assert "; -D PROXY_PORT=" in on
    assert "; -D PROXY_PORT=" not in off


def test_a_home_of_the_runs_own_stands_in_for_the_hosts() -> None:
    found = rules(profile(*CASES["user"]))
    assert not allowed(found, "file-read-data", "/Volumes/Home/user/.ssh/id_ed25519", PLACES)
    assert not allowed(found, "file-read-metadata", "/Volumes/Home/user/Documents", PLACES)
    assert allowed(found, "file-write-create", "/run/1/home/.cache", PLACES)


def test_services_are_named_one_by_one_each_with_its_reason() -> None:
    text = profile(*CASES["user"])
    lookups = [line for line in text.splitlines() if line.startswith("(allow mach-lookup")]
    assert lookups
    for line in lookups:
        assert line.count("global-name") == 1 and line.rpartition("; ")[2]
    for name, _ in seatbelt.LEFT_OUT:
        assert f'"{name}"' not in text
    assert all("; " in line for line in text.splitlines() if line.startswith(("(allow", "(deny")))


def test_a_second_copy_on_write_tree_is_refused() -> None:
    with pytest.raises(HostError, match=r"cannot keep writes to `/home/user/main/\.git` apart"):
        profile("", WORKTREE, LINUX_WORKSPACE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[isolation]\nseccomp = "debug"\n', "seatbelt cannot honour seccomp profile `debug`"),
        (f"[filesystem]\n{MOUNT}", "seatbelt cannot show `/srv/x` at `/mnt/x`"),
        ('[network]\nallow = ["a.example.com"]\npublish = ["8080:80"]\n', "seatbelt cannot publish port 80 as 8080"),
        ('[filesystem]\ndeny-read = ["./line\\nbreak"]\n', "a Seatbelt profile cannot name"),
    ],
)
def test_what_it_cannot_promise_is_refused(text: str, message: str) -> None:
    host = mac({"/srv/x/file": "x", f"{MAC}/line\nbreak": "x"})
    with pytest.raises(HostError) as refused:
        profile(text, host, MAC)
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)
    assert refused.value.hint
