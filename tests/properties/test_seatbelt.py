"""Seatbelt profiles on hosts and policies that nobody thought of: never more than the view, and no name breaks out."""

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ringfence.model.errors import HostError
from ringfence.model.plan import MountKind, Plan
from ringfence.planner import build
from ringfence.planner.view import reach
from ringfence.sandbox import seatbelt
from tests.fake_host import HOME, WORKSPACE, Host, policy, request
from tests.properties.test_planner_denials import grants, hosts, interesting, patterns, planned, shown
from tests.seatbelt import Text, allowed, read, rules

PLACES = {"HOME": "/places/home", "TMP": "/places/tmp", "WORKSPACE": "/places/clone", "PROXY_PORT": "4711"}
BESIDE = ("/usr", "/sys", "/etc", "/bin", "/lib")  # the system's own, which a profile allows in its own words


SETTINGS = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def rendered(text: str, host: Host) -> tuple[Plan, str]:
    """The plan and its profile, or no example where either is refused."""
    found = planned(text, host)
    rules_of = policy(text)
    facts = host.facts(rules_of, request())
    try:
        return found, seatbelt.profile(build.build(rules_of, facts, request()), facts)
    except HostError:
        assume(False)
        raise


@SETTINGS
@given(hosts(), grants(), st.lists(patterns, max_size=2), st.sampled_from(["deny-read", "deny-write"]))
def test_a_profile_never_allows_what_the_view_does_not(host: Host, granted: str, denied: list[str], key: str) -> None:
    plan, text = rendered(f"{granted}{key} = {shown(denied)}\n", host)
    found = rules(text)
    for path in interesting(host, plan):
        if path == "/" or path.startswith(BESIDE) or host.real(path) != path:
            continue  # Seatbelt asks about what a link leads to, which is a path of its own here
        there = reach(plan, path)
        if allowed(found, "file-read-data", path, PLACES):
            assert there.readable and there.source == path, path
        if allowed(found, "file-write-data", path, PLACES):
            assert there.writable and there.mount.kind is MountKind.BIND, path


@SETTINGS
@given(hosts(), grants(), st.lists(patterns, min_size=1, max_size=2))
def test_each_denied_path_is_denied_after_every_allowance(host: Host, granted: str, denied: list[str]) -> None:
    plan, text = rendered(f"{granted}deny-read = {shown(denied)}\n", host)
    found = rules(text)
    last = max(number for number, rule in enumerate(found) if rule.verdict == "allow")
    for mount in plan.mounts:
        if mount.kind in (MountKind.COVER, MountKind.WHITEOUT):
            wanted = ("subpath", Text(mount.target))
            numbers = [n for n, rule in enumerate(found) if rule.verdict == "deny" and wanted in rule.filters]
            assert numbers and max(numbers) > last, mount.target


characters = st.characters(codec="utf-8", exclude_characters="/")
names = st.text(characters, min_size=1).filter(lambda name: name not in (".", ".."))
ODD = ('a") (allow default) ("', "a\\", 'a\\"', "a;b", "a)(b", "#|a", "ä€", "a\\x22", "(param")


@given(st.text())
def test_a_quoted_text_is_one_string_of_exactly_that_text(text: str) -> None:
    try:
        literal = seatbelt.quoted(text)
    except HostError:
        assert not text.isprintable()
        return
    assert read(f"(a {literal} b)") == [("a", Text(text), "b")]


@SETTINGS
@given(names)
def test_no_name_of_a_file_changes_the_shape_of_a_profile(name: str) -> None:
    host = Host({f"{WORKSPACE}/{name}/secret": "x", f"{HOME}/data/{name}": "x"})
    text = f"[filesystem]\ndeny-read = ['{WORKSPACE}/**/secret']\n"
    plain = rendered(text, Host({f"{WORKSPACE}/name/secret": "x", f"{HOME}/data/name": "x"}))[1]
    _, odd = rendered(text, host)
    assert shape(odd) == shape(plain)


@pytest.mark.parametrize("name", ODD)
def test_names_that_look_like_the_language(name: str) -> None:
    host = Host({f"{WORKSPACE}/{name}/secret": "x"})
    _, text = rendered(f"[filesystem]\ndeny-read = ['{WORKSPACE}/**/secret']\n", host)
    assert not allowed(rules(text), "file-read-data", f"{WORKSPACE}/{name}/secret", PLACES)
    assert not allowed(rules(text), "file-read-data", f"/places/clone/{name}/secret", PLACES)


def shape(text: str) -> list[tuple[str, tuple[str, ...], int]]:
    """Every rule without the names in it."""
    return [(rule.verdict, rule.operations, len(rule.filters)) for rule in rules(text)]
