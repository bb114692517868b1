"""What the doctor makes of what the kernel says."""

from pathlib import Path

import pytest

from ringfence.sandbox import doctor
from ringfence.sandbox.attempt import Attempt
from ringfence.sandbox.doctor import Finding, Status


def settings(root: Path, **values: str) -> str:
    """A stand-in for /proc/sys."""
    for name, value in values.items():
        file = root / name.replace("__", "/")
        file.parent.mkdir(exist_ok=True)
        file.write_text(value + "\n")
    return str(root)


@pytest.mark.parametrize(
    ("name", "value", "command"),
    [
        ("kernel__unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
        ("user__max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000"),
        ("kernel__apparmor_restrict_unprivileged_userns", "1", "ap"),
    ],
)
def test_a_setting_that_forbids_user_namespaces_is_named(tmp_path: Path, name: str, value: str, command: str) -> None:
    sysctl = settings(tmp_path, **{name: value})
    detail, remedy = doctor.userns_remedy("bwrap: No permissions", "/usr/bin/bwrap", sysctl)
    assert name.partition("__")[2] in detail
    assert command in remedy


@pytest.mark.parametrize(
    ("output", "word"),
    [
        ("bwrap: Creating new namespace failed: No space left on device", "limit"),
        ("bwrap: Can't mount proc on /newroot/proc: Operation not permitted", "masks"),
        ("bwrap: Can't set hostname to ringfence: Operation not permitted", "seccomp profile"),
        ("bwrap: something else", "something else"),
        ("", "no answer"),
    ],
)
def test_otherwise_the_cause_is_what_was_said(tmp_path: Path, output: str, word: str) -> None:
    detail, remedy = doctor.userns_remedy(output, "/usr/bin/bwrap", str(tmp_path))
    assert word in detail
    assert remedy


def test_the_cause_is_the_first_thing_missing() -> None:
    fine = Finding(name="a", status=Status.OK, detail="")
    weak = Finding(name="b", status=Status.DEGRADED, detail="")
    gone = Finding(name="c", status=Status.MISSING, detail="")
    assert doctor.cause([fine, weak, gone]) is gone
    assert doctor.cause([fine, weak]) is None


@pytest.mark.parametrize("ok", [True, False])
def test_a_finding_that_is_not_ok_says_what_to_change(ok: bool) -> None:
    tried = Attempt(status=0 if ok else 1, output="" if ok else "bwrap: overlay: Invalid argument")
    for finding in (doctor.overlay(tried, "/state"), doctor.id_mapped_mounts(tried, idmap=True)):
        assert (finding.status is Status.OK) == ok
        assert bool(finding.remedy) == (not ok)


def test_every_limit_names_its_mechanism() -> None:
    assert all(doctor.mechanisms().values())
    assert {"processes", "memory", "wall-time", "workspace-size"} <= doctor.mechanisms().keys()
