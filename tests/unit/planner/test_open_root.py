"""Regions over the host's root: who wins, in which order the mounts come, and when none is needed."""

import msgspec
import pytest

from ringfence.model.decision import Source, Verdict
from ringfence.model.egress import Egress, EgressRule, Inspection
from ringfence.model.errors import UsageError
from ringfence.model.paths import HostPath
from ringfence.model.plan import HostFacts, MountKind, PathFact, PathKind, Plan
from ringfence.planner.open_root import Access, Region, build, covered, shown
from ringfence.planner.request import Request
from ringfence.policy import layers

HOME, WORK = "/home/u", "/home/u/proj"
DENY, READ, WRITE, SEAL = Access.DENY, Access.READ, Access.WRITE, Access.SEAL
DIRECTORIES = f"/ /usr /run /run/user /tmp /home {HOME} {HOME}/x {HOME}/x/y {WORK} {WORK}/sub /srv".split()
FILES = f"{HOME}/key {WORK}/file {WORK}/sub/file".split()
BASE = ["ro-bind /", "proc /proc", "dev /dev", "tmpfs /dev/shm"]
RUN = ["tmpfs /run"]
END = ["ro-bind /run/ringfence/inside", "tmpfs /run/tmp", "read-only /run", "read-only /dev", "read-only /"]


def facts(*, uid: int = 1000, closed: tuple[str, ...] = (), **paths: PathFact) -> HostFacts:
    known = {path: PathFact(kind=PathKind.DIRECTORY, others_read=path not in closed) for path in DIRECTORIES}
    known |= {path: PathFact(kind=PathKind.FILE) for path in FILES}
    return HostFacts(
        uid=uid,
        gid=uid,
        user="u",
        home=HostPath(HOME),
        hostname="ringfence",
        python=HostPath("/usr/bin/python3.11"),
        bubblewrap=HostPath("/usr/bin/bwrap"),
        landlock_abi=6,
        idmap=uid == 0,
        overlay=True,
        terminal=False,
        git_name="",
        git_email="",
        paths={**known, "/bin": PathFact(kind=PathKind.SYMLINK, link="usr/bin"), **paths},
    )


def plan(*regions: tuple[Access, str], known: HostFacts | None = None, firm: frozenset[str] = frozenset()) -> Plan:
    request = Request(argv=("true",), workspace=HostPath(WORK), cwd=HostPath(WORK), inside=HostPath("/usr/inside"))
    source = Source(scope="cli")
    laid = [
        Region(path=HostPath(path), access=access, reason="test", origin=source, firm=path in firm)
        for access, path in regions
    ]
    policy = layers.merge([], home=HOME, workspace=WORK)
    return build(policy, known or facts(), request, regions=laid, variables=(), held=("/held",))


def view(*regions: tuple[Access, str], known: HostFacts | None = None, firm: frozenset[str] = frozenset()) -> list[str]:
    return [f"{mount.kind.value} {mount.target}" for mount in plan(*regions, known=known, firm=firm).mounts]


def between(*regions: tuple[Access, str], firm: frozenset[str] = frozenset()) -> list[str]:
    """Give the mounts that regions add to an open view, without /run, which every view hides."""
    found = view(*regions, firm=firm)
    assert found[: len(BASE)] == BASE
    middle = found[len(BASE) : found.index("ro-bind /run/ringfence/inside")]
    return [mount for mount in middle if mount != "tmpfs /run"]


def test_without_regions_the_host_is_read_only() -> None:
    assert view() == [*BASE, *RUN, *END]
    found = plan()
    assert (found.workspace.mode, found.cwd, found.network) == ("readonly", WORK, "off")


@pytest.mark.parametrize(
    ("regions", "expected"),
    [
        ([(WRITE, WORK)], [f"overlay {WORK}"]),
        ([(WRITE, f"{WORK}/file")], [f"bind {WORK}/file"]),
        ([(WRITE, WORK), (WRITE, f"{WORK}/sub")], [f"overlay {WORK}"]),
        ([(READ, WORK)], []),
        ([(DENY, f"{HOME}/key")], [f"cover {HOME}/key"]),
        ([(DENY, HOME), (DENY, f"{HOME}/key")], [f"cover {HOME}"]),
        ([(DENY, HOME), (READ, WORK)], [f"tmpfs {HOME}", f"ro-bind {WORK}"]),
        ([(DENY, HOME), (WRITE, WORK)], [f"tmpfs {HOME}", f"overlay {WORK}"]),
        ([(DENY, WORK), (READ, WORK)], []),
        ([(DENY, WORK), (READ, WORK), (WRITE, WORK)], [f"overlay {WORK}"]),
        ([(DENY, WORK), (WRITE, WORK)], [f"cover {WORK}"]),
        ([(WRITE, WORK), (DENY, f"{WORK}/sub")], [f"overlay {WORK}", f"cover {WORK}/sub"]),
        ([(WRITE, WORK), (SEAL, f"{WORK}/sub")], [f"overlay {WORK}", f"ro-bind {WORK}/sub"]),
        ([(WRITE, WORK), (SEAL, f"{WORK}/sub"), (WRITE, f"{WORK}/sub/file")],
         [f"overlay {WORK}", f"ro-bind {WORK}/sub"]),
        ([(WRITE, WORK), (SEAL, HOME)], []),
        ([(WRITE, WORK), (SEAL, WORK)], []),
        ([(DENY, HOME), (WRITE, WORK), (SEAL, WORK)], [f"tmpfs {HOME}", f"ro-bind {WORK}"]),
        ([(WRITE, HOME), (DENY, f"{HOME}/x"), (WRITE, f"{HOME}/x/y")],
         [f"overlay {HOME}", f"tmpfs {HOME}/x", f"overlay {HOME}/x/y"]),
        ([(WRITE, WORK), (SEAL, f"{WORK}/absent")], [f"overlay {WORK}", f"cover {WORK}/absent"]),
        ([(SEAL, f"{WORK}/absent"), (DENY, f"{WORK}/absent2")], []),
        ([(DENY, "/proc/1"), (WRITE, "/dev/null")], []),
        ([(READ, "/run/user")], ["ro-bind /run/user"]),
    ],
)  # fmt: skip
def test_the_deepest_word_is_the_last(regions: list[tuple[Access, str]], expected: list[str]) -> None:
    assert between(*regions) == expected
    assert between(*reversed(regions)) == expected


def test_a_firm_denial_stays() -> None:
    firm = frozenset({f"{HOME}/x"})
    regions = [(DENY, f"{HOME}/x"), (READ, f"{HOME}/x"), (WRITE, f"{HOME}/x/y"), (READ, f"{HOME}/x/y")]
    for order in (regions, regions[::-1]):
        with_firm = [(access, path) for access, path in order]
        assert [mount for mount in between(*with_firm, firm=firm) if "/x" in mount] == [f"cover {HOME}/x"]


def test_an_absent_name_is_covered_as_absent_and_not_watched() -> None:
    found = plan((WRITE, WORK), (SEAL, f"{WORK}/absent"), (DENY, f"{HOME}/key"))
    cover = next(mount for mount in found.mounts if mount.target == f"{WORK}/absent")
    assert cover.kind is MountKind.COVER and cover.absent
    assert [watch.target for watch in found.watches] == [f"{HOME}/key"]


def test_emptied_directories_are_sealed() -> None:
    found = view((DENY, HOME), (WRITE, WORK))
    assert f"read-only {HOME}" in found
    assert found.index(f"read-only {HOME}") > found.index(f"overlay {WORK}")


def test_a_denied_root_shows_only_what_is_read() -> None:
    found = view((DENY, "/"), (READ, "/usr"), (READ, "/bin"), (WRITE, WORK))
    assert found[:3] == BASE[1:]
    assert [mount for mount in found[3:] if mount not in END] == [
        "symlink /bin",
        f"overlay {WORK}",
        "ro-bind /usr",
    ]


def test_a_root_that_starts_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="no program could start"):
        plan((DENY, "/"), (WRITE, WORK))


def test_the_workspace_is_the_first_overlay() -> None:
    found = plan((WRITE, "/srv"), (WRITE, WORK))
    assert (found.workspace.path, found.workspace.mode) == (WORK, "overlay")
    assert found.workspace.deny_write == (("/held", False),)


def test_a_hidden_working_directory_is_left() -> None:
    assert plan((DENY, HOME)).cwd == "/"
    assert plan((DENY, HOME), (READ, WORK)).cwd == WORK


def test_root_opens_closed_trees_through_mounts_of_its_own() -> None:
    known = facts(uid=0, closed=(HOME, WORK))
    found = view((WRITE, WORK), known=known)
    assert found[:3] == ["ro-bind /", f"ro-bind {HOME}", "ro-bind /tmp"]
    assert "ro-bind /tmp" not in view((DENY, "/"), (READ, "/usr"), known=known)


def test_what_is_shown() -> None:
    found = plan((DENY, HOME), (READ, WORK)).mounts
    assert shown(found, "/usr/bin") and shown(found, f"{WORK}/file")
    assert not shown(found, f"{HOME}/key") and not shown(found, "/run/user") and not shown(found, "/proc/1")


@pytest.mark.parametrize("inspection", [Inspection.SNI, Inspection.INSPECT])
def test_with_egress_names_are_looked_up_as_policy_has_it(inspection: Inspection) -> None:
    rule = EgressRule(host="a.com", verdict=Verdict.ALLOW, source=Source(scope="cli"), inspection=inspection)
    policy = msgspec.structs.replace(layers.merge([], home=HOME, workspace=WORK), egress=Egress(rules=(rule,)))
    file = PathFact(kind=PathKind.FILE)
    linked = PathFact(kind=PathKind.SYMLINK, resolved="/run/systemd/resolv.conf")
    more = {"/etc/resolv.conf": linked, "/etc/hosts": file, "/etc/ssl/certs/ca-certificates.crt": file}
    known = msgspec.structs.replace(facts(), paths=facts().paths | more)
    request = Request(argv=("true",), workspace=HostPath(WORK), cwd=HostPath(WORK), inside=HostPath("/usr/inside"))
    mounts = build(policy, known, request, regions=[], variables=(), held=()).mounts
    texts = {str(mount.target): mount.text for mount in mounts if mount.kind is MountKind.COVER}
    assert "nameserver 198.18.0.2" in texts["/run/systemd/resolv.conf"] and "localhost" in texts["/etc/hosts"]
    assert "/etc/nsswitch.conf" not in texts
    trusted = [mount.target for mount in mounts if mount.kind is MountKind.RUN_FILE]
    assert ("/etc/ssl/certs/ca-certificates.crt" in trusted) is (inspection is Inspection.INSPECT)
    kinds, targets = [mount.kind for mount in mounts], [str(mount.target) for mount in mounts]
    assert kinds.index(MountKind.COVER) > targets.index("/run")
    assert set(covered(policy)[0]) >= {"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"}
    assert covered(layers.merge([], home=HOME, workspace=WORK)) == ([], [])
