"""Whole plans: golden ones for typical hosts, who the command is, which workspaces are refused."""

import os
from pathlib import Path

import msgspec
import pytest

from ringfence.model.errors import UsageError
from ringfence.model.plan import MountKind, Plan
from ringfence.planner.view import deciding, follow
from tests.fake_host import (
    HOME,
    MAIN,
    SURFACES,
    WORKSPACE,
    Host,
    Link,
    at,
    filesystem,
    plan,
    repository,
    request,
    worktree,
)

GOLDEN = Path(__file__).parents[2] / "data" / "plans"
DENIALS = filesystem(deny_read=[".env", "~/.pyenv/cache/secret"], deny_write=["./setup.cfg", "./main.py"])
FILES = {f"{WORKSPACE}/.env": "key", f"{WORKSPACE}/.envrc": "x", f"{WORKSPACE}/src/.env": "key"}

CASES: dict[str, tuple[str, Host]] = {
    "user": ("", Host()),
    "root": ("", Host(uid=0)),
    "denials": (DENIALS, Host(FILES)),
    "direct": (f'{DENIALS}[workspace]\nmode = "direct"\n', Host(FILES)),
    "readonly": (f'{DENIALS}[workspace]\nmode = "readonly"\n', Host(FILES)),
    "worktree": ("", Host({**repository(MAIN), **worktree()})),
}


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    """To accept a change: RINGFENCE_GOLDEN=write, then read the difference."""
    found = msgspec.json.format(msgspec.json.encode(plan(*CASES[name]), order="deterministic"), indent=1).decode()
    file = GOLDEN / f"{name}.json"
    if os.environ.get("RINGFENCE_GOLDEN") == "write":
        file.write_text(found + "\n", encoding="utf-8")
    assert file.read_text(encoding="utf-8") == found + "\n"
    assert msgspec.json.decode(found, type=Plan) == plan(*CASES[name])


def test_the_same_inputs_give_the_same_plan() -> None:
    assert plan(*CASES["denials"]) == plan(*CASES["denials"])


# ---- who the command is


def test_root_gives_way_to_an_account_without_power() -> None:
    who = plan("", Host(uid=0, owners={WORKSPACE: 1234})).identity
    assert (who.user, who.uid, who.idmap, who.owner_uid) == ("agent", 1000, True, 1234)
    assert "no id-mapped mounts here" in plan("", Host(uid=0, idmap=False)).notes[0]


@pytest.mark.parametrize(
    ("home", "inside"),
    [
        ("/home/user", "/home/user"),
        ("/var/lib/ci", "/var/lib/ci"),
        ("/tmp/homes/1", "/tmp/homes/1"),
        ("/", "/home/user"),
        ("/tmp", "/home/user"),
        ("/var", "/home/user"),
        ("/usr/sbin", "/home/user"),
        ("/etc/service", "/home/user"),
        ("/bin", "/home/user"),
    ],
)
def test_the_private_home_hides_nothing_of_the_system(home: str, inside: str) -> None:
    found = plan("", Host({"/srv/w/f": "x"}, home=home), request("/srv/w"))
    assert found.identity.home == inside
    assert at(found, inside).kind is MountKind.TMPFS
    assert deciding(found.mounts, "/usr/bin/bash").source == "/usr"


# ---- which workspaces


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/home", HOME, "/usr", "/etc", "/tmp", "/var", "/var/tmp", "/opt", "/lib", "/run", "/run/ringfence"),
        *("/proc/1", "/sys/fs", "/dev/shm", "/nix"),
    ],
)
def test_a_workspace_that_cannot_be_contained_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match="workspace"):
        plan("", Host({f"{path.rstrip('/')}/f": "x"}), request(path))


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/tmp/w",
            "/srv/w",
            "/usr/src/app",
            "/opt/app",
            "/homework",
            "/mnt/with space",
            "/mnt/new\nline",
            "/mnt/caf\udce9",
        ),
        *("/mnt/*?[x]", "/var/tmp/w", f"{HOME}/.config/w"),
    ],
)
def test_a_workspace_keeps_its_path_whatever_it_is_called(path: str) -> None:
    found = plan(
        filesystem(deny_read=[".env", "./a/b"]), Host({f"{path}/.env": "x", f"{path}/a/b": "x"}), request(path)
    )
    assert follow(found.mounts, path) == path
    assert found.cwd == path and at(found, path).kind is MountKind.OVERLAY
    assert [at(found, f"{path}/{name}").kind for name in (".env", "a/b")] == [MountKind.COVER, MountKind.COVER]


# ---- where it starts, and by which way


def test_a_directory_that_is_not_in_the_view_gives_way_to_the_home() -> None:
    found = plan("", Host({"/srv/x/f": "x"}), request(cwd="/srv/x"))
    assert found.cwd == HOME
    assert {item.name: item.value for item in found.environment}["PWD"] == HOME


@pytest.mark.parametrize(
    ("came_by", "made"),
    [
        ("/work", True),
        (f"{HOME}/short", True),
        ("/srv/../work", True),
        ("/stale", False),
        ("/", False),
        (HOME, False),
        (WORKSPACE, False),
        (f"{WORKSPACE}/loop", False),
        ("/usr/share/way", False),
        ("", False),
        ("relative", False),
    ],
)
def test_the_path_one_came_by_leads_to_the_same_place_inside(came_by: str, made: bool) -> None:
    ways = ("/work", f"{HOME}/short", f"{WORKSPACE}/loop", "/usr/share/way")
    found = plan("", Host({way: Link(WORKSPACE) for way in ways} | {"/stale/f": "x"}), request(came_by=came_by))
    links = [m.target for m in found.mounts if m.kind is MountKind.SYMLINK and m.text == WORKSPACE]
    assert bool(links) is made


def test_surfaces_count_only_where_something_is_live() -> None:
    host = Host({f"{WORKSPACE}/{name}/x": "x" for name in SURFACES})
    assert not [mount for mount in plan("", host).mounts if mount.reason.startswith("loaded by")]
