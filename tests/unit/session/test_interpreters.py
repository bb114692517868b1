"""Where a link to an interpreter may lead, step by step."""

import os
from pathlib import Path

import pytest

from ringfence.model.decision import Source
from ringfence.model.paths import GuestPath, HostPath
from ringfence.model.plan import Mount, MountKind
from ringfence.session.interpreters import Place, is_shown, places, proven


def mount(kind: MountKind, target: str, source: str = "", scope: str = "default") -> Mount:
    where = HostPath(source or target)
    return Mount(kind=kind, target=GuestPath(target), source=where, reason="a test", origin=Source(scope=scope))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What a run sees, `seen`, and what it does not, `unseen`, each with an interpreter."""
    for name in ("seen", "unseen"):
        (tmp_path / name).mkdir()
        program = tmp_path / name / "python3.11"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    return tmp_path


def leads(tree: Path, path: str, *more: Place) -> bool:
    return proven([(f"{tree}/seen", True), *more])(path.replace("@", str(tree)))


def test_a_program_that_the_run_sees(tree: Path) -> None:
    assert leads(tree, "@/seen/python3.11")
    for name, target in {"python3": "python3.11", "python": f"{tree}/seen/python3"}.items():
        (tree / "seen" / name).symlink_to(target)
        assert leads(tree, f"@/seen/{name}")
    (tree / "seen/latest").symlink_to(".")
    assert leads(tree, "@/seen/latest/python")
    (tree / "seen/deep").mkdir()
    (tree / "seen/deep/python").symlink_to("../python3.11")
    assert leads(tree, "@/seen/deep/python")


@pytest.mark.parametrize(
    "path",
    [
        "@/unseen/python3.11",
        "@/seen/../unseen/python3.11",
        "@/seen/./python3.11",
        "@/seen//python3.11",
        "@/seen/../seen/python3.11",
        "/@/seen/python3.11",
        "@/seen/python3.11/",
        "@/seen",
        "@/seen/none",
        "@/seenpython3.11",
        "@/seen/python3.11/below",
        "seen/python3.11",
        "python3.11",
        "",
        "@/seen/python3.11\0",
        "/proc/self/root@/seen/python3.11",
        "/proc/self/cwd/python3.11",
    ],
)
def test_every_other_path(tree: Path, path: str) -> None:
    assert not leads(tree, path)


def test_a_step_elsewhere_is_one_too_many(tree: Path) -> None:
    """Also where the way comes back: what lies elsewhere may be changed from inside later."""
    (tree / "unseen/python").symlink_to(tree / "seen/python3.11")
    (tree / "seen/python").symlink_to(tree / "unseen/python")
    assert os.path.realpath(tree / "seen/python") == str(tree / "seen/python3.11")
    assert not leads(tree, "@/seen/python")
    (tree / "unseen/back").symlink_to(tree / "seen")
    (tree / "seen/away").symlink_to("../unseen")
    for path in ("@/seen/away/back/python3.11", "@/unseen/back/python3.11", "@/seen/away/python3.11"):
        assert not leads(tree, path)


def test_a_name_and_then_up_again_cannot_be_told(tree: Path) -> None:
    (tree / "seen/deep").mkdir()
    (tree / "seen/python").symlink_to("deep/../python3.11")
    assert not leads(tree, "@/seen/python")


def test_links_in_a_circle(tree: Path) -> None:
    (tree / "seen/python").symlink_to("python3")
    (tree / "seen/python3").symlink_to("python")
    assert not leads(tree, "@/seen/python")


@pytest.mark.parametrize("mode", [0o644, 0o4755, 0o2755])
def test_a_program_without_other_powers_only(tree: Path, mode: int) -> None:
    (tree / "seen/python3.11").chmod(mode)
    assert not leads(tree, "@/seen/python3.11")


def test_an_interpreter_only(tree: Path) -> None:
    for name in ("sh", "python3-config", "notpython3", "PYTHON3"):
        (tree / "seen" / name).write_text("#!/bin/sh\n")
        (tree / "seen" / name).chmod(0o755)
        assert not leads(tree, f"@/seen/{name}")
    (tree / "seen/python").symlink_to("sh")
    assert not leads(tree, "@/seen/python")
    os.mkfifo(tree / "seen/pypy3", 0o755)
    (tree / "seen/python2").mkdir()
    assert not leads(tree, "@/seen/pypy3") and not leads(tree, "@/seen/python2")


def test_what_lies_over_it_decides(tree: Path) -> None:
    assert not leads(tree, "@/seen/python3.11", (f"{tree}/seen/python3.11", False))
    assert not leads(tree, "@/seen/python3.11", (f"{tree}/seen", True), (f"{tree}/seen/python3.11", False))
    (tree / "seen/deep").mkdir()
    (tree / "seen/deep/python3").symlink_to("../python3.11")
    assert not leads(tree, "@/seen/deep/python3", (f"{tree}/seen/deep", False))


def test_a_view_says_what_it_shows_of_the_host() -> None:
    shown = mount(MountKind.RO_BIND, "/usr"), mount(MountKind.RO_BIND, "/h/.pyenv", scope="preset")
    cover = mount(MountKind.COVER, "/usr/lib/secret")
    link = Mount(kind=MountKind.SYMLINK, target=GuestPath("/bin"), text="usr/bin", reason="merged into /usr")
    assert set(places([*shown, cover, link])) == {
        ("/usr", True),
        ("/h/.pyenv", True),
        ("/usr/lib/secret", False),
        ("/bin", True),
    }


@pytest.mark.parametrize(
    "other",
    [
        mount(MountKind.RO_BIND, "/h/tools", scope="cli"),
        mount(MountKind.RO_BIND, "/h/tools", "/elsewhere", scope="preset"),
        mount(MountKind.BIND, "/h/tools"),
        mount(MountKind.OVERLAY, "/h/tools"),
        mount(MountKind.TMPFS, "/h/tools"),
    ],
)
def test_nothing_else_counts(other: Mount) -> None:
    assert not is_shown("/h/tools/python3", places([other]))
    over = [mount(MountKind.RO_BIND, "/h", scope="preset"), other]
    assert not is_shown("/h/tools/python3", places(over))


@pytest.mark.parametrize("kind", [MountKind.BIND, MountKind.OVERLAY])
def test_what_the_run_can_write_to_by_another_name_is_not_shown(kind: MountKind) -> None:
    tools = mount(MountKind.RO_BIND, "/h/tools", scope="preset")
    for source in ("/h", "/h/tools", "/h/tools/bin"):
        assert not is_shown("/h/tools/bin/python3", places([tools, mount(kind, "/data", source)]))
    assert is_shown("/h/tools/lib/python3", places([tools, mount(kind, "/data", "/h/tools/bin")]))
