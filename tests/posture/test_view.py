"""The file system of a live sandbox against the Plan: every mount and no other, every entry and no other."""

import os
import stat
from pathlib import Path

import msgspec
import pytest

from ringfence.model.plan import Mount, MountKind
from tests.posture.live import CANARY, Live

MOUNTING = frozenset(MountKind) - {MountKind.DIRECTORY, MountKind.FILE, MountKind.SYMLINK, MountKind.READ_ONLY}
SEALED = (MountKind.RO_BIND, MountKind.COVER)
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
# bubblewrap's `--dev`: links of udev's, and `core`, which leads to /proc/kcore.
DEVICE_LINKS = ("core", "fd", "ptmx", "stderr", "stdin", "stdout")
# Mounted by bubblewrap without the flag. In a user namespace the kernel opens no device node of such a mount
# (SB_I_NODEV), and no_new_privs takes the effect of set-user-id bits: the tests below hold it to that.
WITHOUT_FLAGS = {"overlay", "mqueue"}


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of /proc/PID/mountinfo (proc_pid_mountinfo(5))."""

    target: str
    options: frozenset[str]
    kind: str
    settings: dict[str, str]


def rows(box: Live) -> dict[str, Row]:
    """What is mounted, by place; of several at one place, the uppermost."""
    found = {}
    for line in Path(f"/proc/{box.command}/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        words, (kind, _, settings) = before.split(), after.split()
        pairs = dict(item.partition("=")[::2] for item in settings.split(","))
        found[words[4]] = Row(target=words[4], options=frozenset(words[5].split(",")), kind=kind, settings=pairs)
    return found


def mounts(box: Live) -> dict[str, Mount]:
    """What the Plan mounts, by place."""
    return {mount.target: mount for mount in box.plan.mounts if mount.kind in MOUNTING}


def of(box: Live, *kinds: MountKind) -> list[Mount]:
    found = [mount for mount in box.plan.mounts if mount.kind in kinds]
    assert found, kinds
    return found


def entries(box: Live, path: str) -> set[str]:
    """What a directory inside lists."""
    found = box.inside(f"import os; result = os.listdir({path!r})")
    assert isinstance(found, list)
    return set(found)


def promised(box: Live, path: str) -> set[str]:
    """The entries of a directory that the Plan puts there, or that lead to something it puts further below."""
    prefix = path.rstrip("/") + "/"
    shown = (mount.target for mount in box.plan.mounts if mount.kind is not MountKind.READ_ONLY and not mount.absent)
    return {target[len(prefix) :].partition("/")[0] for target in shown if target.startswith(prefix)}


# ---- the mount table


def test_every_mount_is_promised_and_every_promise_is_mounted(box: Live) -> None:
    extra = {"/", "/proc/sys", *(f"/dev/{name}" for name in (*DEVICES, "pts", "mqueue"))}
    # What is mounted below /proc has a test of its own: bubblewrap adds covers where the kernel uid could write.
    found = {target for target in rows(box) if target in extra or not target.startswith("/proc/")}
    assert found == {target for target in mounts(box) if not target.startswith("/proc/")} | extra


def test_what_is_mounted_below_proc_only_takes_away(box: Live) -> None:
    assert {target for target in mounts(box) if target.startswith("/proc/")} <= set(rows(box))
    for row in rows(box).values():
        if row.target.startswith("/proc/"):
            assert "ro" in row.options or row.kind in ("devtmpfs", "tmpfs"), row


def test_mounts_are_read_only_where_promised_and_nowhere_else(box: Live) -> None:
    sealed = {mount.target for mount in box.plan.mounts if mount.kind in (*SEALED, MountKind.READ_ONLY)}
    found = rows(box)
    assert {target for target in {**mounts(box), "/": None} if "ro" in found[target].options} == sealed


def test_no_mount_honours_set_user_id_or_devices(box: Live) -> None:
    for row in rows(box).values():
        wanted = {"nosuid"} if row.kind in ("devtmpfs", "devpts") else {"nosuid", "nodev"}
        if row.kind not in WITHOUT_FLAGS:
            assert wanted <= row.options, row


@pytest.mark.require("root")
def test_a_device_node_in_the_workspace_cannot_be_opened(box: Live) -> None:
    """A host directory may hold one; nothing inside can make one."""
    node = box.place.workspace / "device"
    os.mknod(node, 0o666 | stat.S_IFCHR, os.makedev(1, 5))
    node.chmod(0o666)
    try:
        with node.open("rb") as file:
            assert file.read(1) == b"\0"  # positive control: this is /dev/zero
        code = "try:\n    open('device', 'rb')\n    result = 0\nexcept OSError as error:\n    result = error.errno"
        assert box.inside(code) == 13  # EACCES
    finally:
        node.unlink()


def test_a_private_place_has_the_promised_size_and_mode(box: Live) -> None:
    limits, found = box.plan.limits, rows(box)
    home = box.plan.identity.home
    sizes = {"/tmp": limits.tmp_bytes, "/run": limits.run_bytes, "/dev/shm": limits.shm_bytes, home: limits.home_bytes}
    private = {mount.target: mount for mount in of(box, MountKind.TMPFS)}
    assert {target: mount.size_bytes for target, mount in private.items()} == sizes
    for target, mount in private.items():
        row = found[target]
        assert (row.kind, row.settings["size"]) == ("tmpfs", f"{mount.size_bytes >> 10}k")
        assert stat.S_IMODE(box.view(target).stat().st_mode) == mount.mode
    assert found["/"].settings["size"] == f"{limits.run_bytes >> 10}k"


def test_the_workspace_is_mounted_in_the_promised_mode(box: Live) -> None:
    kinds = {"overlay": "overlay", "direct": MountKind.BIND.value, "readonly": MountKind.RO_BIND.value}
    workspace = box.plan.workspace
    assert (workspace.path, workspace.mode) == (str(box.place.workspace), box.place.mode)
    assert mounts(box)[workspace.path].kind.value == kinds[workspace.mode]
    assert (rows(box)[workspace.path].kind == "overlay") == (workspace.mode == "overlay")


def test_each_bind_shows_what_it_promises(box: Live) -> None:
    for mount in of(box, MountKind.BIND, MountKind.RO_BIND):
        assert mount.source is not None
        host, shown = os.stat(mount.source), box.view(mount.target).stat()
        assert (host.st_dev, host.st_ino) == (shown.st_dev, shown.st_ino), mount


def test_generated_files_have_the_promised_content(box: Live) -> None:
    for mount in of(box, MountKind.FILE):
        place = box.view(mount.target)
        assert (place.read_text(), stat.S_IMODE(place.stat().st_mode)) == (mount.text, mount.mode), mount


def test_links_lead_where_promised(box: Live) -> None:
    for mount in of(box, MountKind.SYMLINK):
        assert box.inside(f"import os; result = os.readlink({mount.target!r})") == mount.text


def test_directories_have_the_promised_mode(box: Live) -> None:
    for mount in of(box, MountKind.DIRECTORY):
        assert stat.S_IMODE(box.view(mount.target).lstat().st_mode) == mount.mode, mount


def test_covered_paths_reveal_nothing(box: Live) -> None:
    code = """
import os
try:
    result = os.listdir({0!r}) if os.path.isdir({0!r}) else open({0!r}).read()
except OSError:
    result = "refused"
"""
    for mount in of(box, MountKind.COVER):
        assert box.inside(code.format(str(mount.target))) in ([], "", "refused"), mount
    assert (box.place.workspace / ".env").read_text() == CANARY  # positive control


def test_covers_of_absent_names_are_not_listed(box: Live) -> None:
    absent = [mount for mount in box.plan.mounts if mount.absent]
    assert bool(absent) == (box.plan.workspace.mode == "overlay")
    for mount in absent:
        assert Path(mount.target).name not in entries(box, str(Path(mount.target).parent))
        code = (
            f"try:\n    open({str(mount.target)!r}, 'w')\n    result = 'made'\nexcept OSError:\n    result = 'refused'"
        )
        assert box.inside(code) == "refused"


# ---- directory listings: nothing of the host that no line of the Plan names


@pytest.mark.parametrize("path", ["/", "/etc", "/run", "/var", "/tmp", "/mnt", "/sys", "HOME", "parent of HOME"])
def test_a_directory_lists_what_is_promised(box: Live, path: str) -> None:
    home = box.plan.identity.home
    place = {"HOME": home, "parent of HOME": str(Path(home).parent)}.get(path, path)
    assert entries(box, place) == promised(box, place)


def test_paths_beside_the_promised_ones_do_not_exist(box: Live) -> None:
    for name in ("unnamed", "elsewhere", "policy.toml"):
        host = box.place.root / name
        assert host.exists()
        assert box.inside(f"import os; result = os.path.lexists({str(host)!r})") is False
    assert box.inside("result = open('/mnt/shown/file').read()") == f"{CANARY}\n"


def test_the_devices_are_exactly_these(box: Live) -> None:
    assert entries(box, "/dev") == {*DEVICES, *DEVICE_LINKS, "mqueue", "pts", "shm"}
    for name in DEVICES:
        host, shown = os.stat(f"/dev/{name}"), box.view(f"/dev/{name}").stat()
        assert stat.S_ISCHR(shown.st_mode) and shown.st_rdev == host.st_rdev
    assert entries(box, "/dev/pts") == {"ptmx"}


@pytest.mark.parametrize("path", ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/pid_max", "/proc/sysrq-trigger"])
def test_a_setting_of_the_kernel_cannot_be_written(box: Live, path: str) -> None:
    code = f"try:\n    open({path!r}, 'r+b', 0)\n    result = 0\nexcept OSError as error:\n    result = error.errno"
    assert box.inside(code) in (1, 2, 13, 30)  # EPERM ENOENT EACCES EROFS


def test_proc_sys_is_a_read_only_mount(box: Live) -> None:
    row = rows(box)["/proc/sys"]
    assert row.kind == "proc" and {"ro", "nosuid", "nodev", "noexec"} <= row.options
