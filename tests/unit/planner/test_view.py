"""What a path in a view is: which mount decides, what it shows, and what can be done there."""

import pytest

from ringfence.model.paths import GuestPath, HostPath
from ringfence.model.plan import Mount, MountKind
from ringfence.planner.view import ROOT, deciding, follow, places, reach
from tests.fake_host import HOME, WORKSPACE, Host, filesystem, plan

DENIALS = filesystem(deny_read=[".env"], deny_write=["locked"])


def bind(source: str, target: str, kind: MountKind = MountKind.RO_BIND) -> Mount:
    return Mount(kind=kind, source=HostPath(source), target=GuestPath(target), reason="test")


def link(target: str, text: str) -> Mount:
    return Mount(kind=MountKind.SYMLINK, target=GuestPath(target), text=text, reason="test")


def test_the_last_mount_at_or_above_decides() -> None:
    view = [bind("/a", "/x"), bind("/b", "/x/y"), bind("/c", "/x/y/z"), bind("/d", "/x/y")]
    assert deciding(view, "/x/y/z") is view[3]
    assert deciding(view, "/x/z") is view[0]
    assert deciding(view, "/xy") is ROOT


def test_a_host_path_shows_wherever_nothing_hides_it() -> None:
    view = [bind("/data", "/data"), bind("/data", "/mnt"), bind("/other", "/mnt/in"), bind("/data/in", "/deep")]
    assert list(places(view, "/data/in/f")) == [(view[0], "/data/in/f"), (view[3], "/deep/f")]
    assert list(places(view, "/data")) == [(view[0], "/data"), (view[1], "/mnt")]
    assert list(places([bind("/", "/host")], "/etc/x")) == [(bind("/", "/host"), "/host/etc/x")]
    assert list(places([bind("/etc", "/")], "/etc/x")) == [(bind("/etc", "/"), "/x")]


def test_the_views_own_links_are_followed() -> None:
    view = [link("/bin", "usr/bin"), link("/var/run", "/run"), link("/run/lock", "../bin/lock")]
    assert follow(view, "/var/run/lock/f") == "/usr/bin/lock/f"
    assert follow(view, "/var/runs") == "/var/runs"
    assert follow([*view, bind("/srv", "/var")], "/var/run/x") == "/var/run/x"


def test_a_circle_of_links_ends() -> None:
    assert follow([link("/a", "/b"), link("/b", "/a")], "/a/x") == "/a/x"


@pytest.mark.parametrize(
    ("path", "readable", "writable", "source"),
    [
        (f"{WORKSPACE}/main.py", True, True, f"{WORKSPACE}/main.py"),
        (f"{WORKSPACE}/.env", False, False, None),
        (f"{WORKSPACE}/locked", True, False, f"{WORKSPACE}/locked"),
        ("/usr/bin/bash", True, False, "/usr/bin/bash"),
        ("/bin/bash", True, False, "/usr/bin/bash"),
        ("/lib/../bin/bash", True, False, "/usr/bin/bash"),
        ("/etc/passwd", True, False, None),
        ("/etc/shadow", False, False, None),
        ("/etc", True, False, None),
        ("/nowhere", False, False, None),
        ("/tmp/x", True, True, None),
        ("/var/tmp/x", True, True, None),
        (f"{HOME}/.bashrc", True, True, None),
        ("/dev/null", True, True, None),
        ("/proc/self", True, True, None),
    ],
)
def test_reach(path: str, readable: bool, writable: bool, source: str | None) -> None:
    found = reach(plan(DENIALS, Host({f"{WORKSPACE}/.env": "key", f"{WORKSPACE}/locked": "text"})), path)
    assert (found.readable, found.writable, found.source) == (readable, writable, source)


def test_reach_names_what_decides_and_the_line_that_asked_for_it() -> None:
    found = plan(DENIALS, Host({f"{WORKSPACE}/.env": "key"}))
    hidden = reach(found, f"{WORKSPACE}/.env").mount
    assert (hidden.reason, str(hidden.origin)) == ("deny-read `.env`", "p.toml:3")
    assert reach(found, "/etc/passwd").mount.reason == "only the sandbox's own accounts"
    assert reach(found, f"{HOME}/.pyenv/versions").mount.origin.file == "preset:python"
    assert reach(found, "/nowhere").mount is ROOT
    assert reach(found, "/var/run/user").path == "/run/user"
