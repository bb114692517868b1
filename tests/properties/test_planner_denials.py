"""Denials in plans, on hosts, policies and patterns that nobody thought of."""

import msgspec
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ringfence.model.errors import UsageError
from ringfence.model.plan import MountKind, Plan
from ringfence.planner.view import places, reach
from ringfence.policy.patterns import compile_rule
from tests.fake_host import HOME, WORKSPACE, Host, Link, Node, plan, policy

NAMES = ("a", "b", "A", ".env", "key", "*")
TOPS = (WORKSPACE, f"{HOME}/data", "/srv/x")
GUESTS = ("/mnt", "/srv/x/b", f"{WORKSPACE}/a", "/deep/er")
POINTS = (f"{WORKSPACE}/a", "/srv/x/b", f"{HOME}/data/b")  # where something could be mounted inside something else
FIXED = (
    "/usr/share/doc/readme",
    "/etc/ssl/certs/ca.pem",
    "/etc/shells",
    f"{HOME}/.pyenv/cache/secret",
    f"{HOME}/.bashrc",
)

relative = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
paths = st.builds("{}/{}".format, st.sampled_from(TOPS), relative)
nodes = st.one_of(st.just("text"), st.one_of(paths, relative).map(Link))
wild = st.sampled_from([*NAMES, "**", "?", "[ab]", "k*"])
patterns = st.one_of(
    paths,
    st.lists(wild, min_size=1, max_size=3).map("/".join),
    st.builds("{}/{}".format, st.sampled_from([*TOPS, *GUESTS, "", HOME]), st.lists(wild, max_size=3).map("/".join)),
    st.sampled_from(FIXED),
)


@st.composite
def hosts(draw: st.DrawFn) -> Host:
    """Draw files and links; nothing lies below a file."""
    files: dict[str, Node] = {f"{top}/seed": "text" for top in TOPS}
    files |= {f"{place}/seed": "text" for place in draw(st.sets(st.sampled_from(POINTS)))}
    for path, node in draw(st.dictionaries(paths, nodes, max_size=7)).items():
        related = (other for other in files if other.startswith(f"{path}/") or path.startswith(f"{other}/"))
        if not any(related):
            files[path] = node
    return Host(files)


@st.composite
def grants(draw: st.DrawFn) -> str:
    """Draw what is exposed: a mode, readable and writable places, mounts."""
    mode = draw(st.sampled_from(["overlay", "direct", "readonly"]))
    outside = st.lists(st.sampled_from([f"{HOME}/data", "/srv/x", "/srv", f"{HOME}/*", "/srv/x/?"]), max_size=2)
    lines = [f"{key} = {shown(draw(outside))}" for key in ("read", "write")]
    guests = draw(st.lists(st.sampled_from(GUESTS), max_size=2, unique=True))
    mounts = []
    for guest in guests:
        source, writable = draw(st.sampled_from(TOPS)), draw(st.sampled_from(["true", "false"]))
        mounts.append(f'{{ source = "{source}", target = "{guest}", writable = {writable} }}')
    return f'[workspace]\nmode = "{mode}"\n[filesystem]\n' + "\n".join([*lines, f"mounts = [{', '.join(mounts)}]", ""])


def shown(entries: list[str]) -> str:
    return msgspec.json.encode(entries).decode()


def planned(text: str, host: Host) -> Plan:
    """The plan, or no example where policy or planner refuse."""
    try:
        return plan(text, host)
    except UsageError:
        assume(False)
        raise


def interesting(host: Host, before: Plan) -> list[str]:
    """Every path of the host, wherever it shows, with a new name beside it."""
    own = {*host.files, *host.children}
    inside = {guest for path in own for _, guest in places(before.mounts, path)}
    return sorted({*own, *inside, *(f"{path}/new" for path in own | inside)})


SETTINGS = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


@SETTINGS
@given(hosts(), grants(), patterns, st.sampled_from(["deny-read", "deny-write"]))
def test_a_denial_never_makes_anything_reachable(host: Host, granted: str, pattern: str, key: str) -> None:
    before = planned(granted, host)
    after = planned(f"{granted}{key} = {shown([pattern])}\n", host)
    for path in interesting(host, before):
        was, now = reach(before, path), reach(after, path)
        assert now.source in (was.source, None), path
        assert was.readable or not now.readable, path
        assert was.writable or not now.writable, path


@SETTINGS
@given(hosts(), grants(), st.lists(patterns, min_size=1, max_size=2))
def test_nothing_that_may_not_be_read_shows_anywhere(host: Host, granted: str, denied: list[str]) -> None:
    text = f"{granted}deny-read = {shown(denied)}\n"
    found = planned(text, host)
    rules = [compile_rule(rule, workspace=WORKSPACE) for rule in policy(text).deny_read]
    for path, node in host.files.items():
        real = host.real(path)
        known = real in host.files or real in host.children
        for mount, guest in [] if mount_is_ours(path) else places(found.mounts, path):
            if any(rule.matches(name) for rule in rules for name in (path, guest)):
                assert isinstance(node, Link), f"{path} shows at {guest} on {mount.target}"
                assert not known or not list(places(found.mounts, real)), f"{path} leads to {real}"


@SETTINGS
@given(hosts(), grants(), st.lists(patterns, min_size=1, max_size=2))
def test_nothing_that_may_not_be_written_is_writable_where_it_exists(
    host: Host, granted: str, denied: list[str]
) -> None:
    text = f"{granted}deny-write = {shown(denied)}\n"
    found = planned(text, host)
    rules = [compile_rule(rule, workspace=WORKSPACE) for rule in policy(text).deny_write]
    for path, node in host.files.items():
        for mount, guest in places(found.mounts, path):
            if not isinstance(node, Link) and any(rule.matches(name) for rule in rules for name in (path, guest)):
                assert mount.kind is MountKind.RO_BIND, f"{path} is writable at {guest}"


def mount_is_ours(path: str) -> bool:
    """The first process's own code, which no rule takes away."""
    return path.startswith("/usr/lib/ringfence")
