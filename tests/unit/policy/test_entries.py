"""Paths as people write them, resolved or refused."""

import pytest

from ringfence.model.decision import Source
from ringfence.model.errors import UsageError
from ringfence.policy.document import MountEntry, PathEntry
from ringfence.policy.entries import Places, mount, path_rule, write_rule

HERE = Source(scope="user", file="p.toml", line=7)
PLACES = Places(home="/home/u", workspace="/home/u/w")
ODD = Places(home="/home/[u]*", workspace="/home/[u]*/w?")


@pytest.mark.parametrize(
    ("written", "pattern"),
    [
        ("~", "/home/u"),
        ("~/", "/home/u"),
        ("~/x/*.key", "/home/u/x/*.key"),
        ("/a//b/./c/../d/", "/a/b/d"),
        ("/", "/"),
        ("/../..", "/"),
        ("a", "a"),
        ("a/", "a"),
        ("a/b", "a/b"),
        (".", "/home/u/w"),
        ("./a", "/home/u/w/a"),
        ("a/../b", "/home/u/w/b"),
        ("../x", "/home/u/x"),
        ("~/../v", "/home/v"),
        ("../../../../x", "/x"),
        ("Foo$Bar.class", "Foo$Bar.class"),
        ("\\$x", "\\$x"),
        ("\\!x", "\\!x"),
    ],
)
def test_paths_are_resolved(written: str, pattern: str) -> None:
    rule = path_rule(written, HERE, PLACES)
    assert (rule.pattern, rule.source, rule.literal) == (pattern, HERE, False)


def test_the_long_form_keeps_its_reason() -> None:
    rule = path_rule(PathEntry(path="a*b", literal=True, reason="why"), HERE, PLACES)
    assert (rule.pattern, rule.literal, rule.reason) == ("a*b", True, "why")


def test_wildcards_in_home_and_workspace_are_escaped() -> None:
    assert path_rule("~/x", HERE, ODD).pattern == "/home/\\[u]\\*/x"
    assert path_rule("./x", HERE, ODD).pattern == "/home/\\[u]\\*/w\\?/x"
    assert path_rule("../x", HERE, ODD).pattern == "/home/\\[u]\\*/x"
    assert path_rule(PathEntry(path="~/x", literal=True), HERE, ODD).pattern == "/home/[u]*/x"


def test_literal_paths_may_hold_what_patterns_may_not() -> None:
    for written in ("$x", "!x", "a["):
        assert path_rule(PathEntry(path=written, literal=True), HERE, PLACES).pattern == written
    assert path_rule(PathEntry(path="/a*/../b", literal=True), HERE, PLACES).pattern == "/b"


@pytest.mark.parametrize(
    ("written", "message", "hint"),
    [
        ("$HOME/x", "`$HOME/x` holds a variable, and variables are not expanded", "write `~`"),
        ("/home/$USER", "holds a variable", "`\\$`"),
        ("~root/x", "`~root/x` names another user's home", "`./~name`"),
        ("!a", "is negated", "`\\!`"),
        ("a*/../b", "`a*/../b` has `..` after a wildcard", "without `..`"),
        ("~/../a*/../b", "has `..` after a wildcard", "without `..`"),
        ("a[", "`a[` is not a valid pattern: a `[` is not closed", "literal = true"),
    ],
)
def test_what_would_surprise_is_refused(written: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        path_rule(written, HERE, PLACES)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.place == "p.toml:7"


@pytest.mark.parametrize(
    "written", ["/", "~", "/home", "/home/*", "/*", "~/*", "~/.*", "~/[!.]*", "~/**", "~/x/..", "/**"]
)
def test_home_is_never_writable_as_a_whole(written: str) -> None:
    with pytest.raises(UsageError, match="would make the whole home directory writable") as caught:
        write_rule(written, HERE, PLACES)
    assert "private home" in caught.value.hint


@pytest.mark.parametrize(
    "written",
    [
        "~/.config",
        "~/.config/ringfence",
        "~/.local/state/ringfence",
        "~/.local/share/ringfence",
        "~/.cache/ringfence",
        "/etc/ringfence",
        "~/.config/ringfence/policy.toml",
        "~/.*/ringfence",
        "~/.local/state/**",
        "/etc",
        "~/.CACHE/ringfence",
    ],
)
def test_ringfence_s_own_files_are_never_writable(written: str) -> None:
    with pytest.raises(UsageError, match=r"would make ringfence's own files in `/.*/ringfence` writable"):
        write_rule(written, HERE, PLACES)


@pytest.mark.parametrize(
    "written", ["~/x", "/srv", "~/.config/other", "~/.config/ringfence2", "~/x/**", "~/*.log", "a"]
)
def test_other_writes_are_fine(written: str) -> None:
    assert write_rule(written, HERE, PLACES).source == HERE


def test_mounts() -> None:
    made = mount(MountEntry(source="~/a*", target="/x//y/../z", writable=True), HERE, PLACES)
    assert (made.host, made.guest, made.writable, made.source) == ("/home/u/a*", "/x/z", True, HERE)
    assert mount(MountEntry(source="~", target="~/h"), HERE, PLACES).guest == "/home/u/h"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (MountEntry(source="a", target="/x"), "mount path `a` is not absolute"),
        (MountEntry(source="/a", target="x"), "mount path `x` is not absolute"),
        (MountEntry(source="/a", target="/x/.."), "a mount cannot replace `/`"),
        (MountEntry(source="/a", target="~x"), "names another user's home"),
        (MountEntry(source="/", target="/x", writable=True), "whole home directory writable"),
        (MountEntry(source="~/.local", target="/x", writable=True), "ringfence's own files"),
        (MountEntry(source="~", target="/x", writable=True), "whole home directory writable"),
    ],
)
def test_unsound_mounts_are_refused(entry: MountEntry, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        mount(entry, HERE, PLACES)
    assert message in caught.value.message
    assert caught.value.place == "p.toml:7"


def test_what_a_home_and_a_mount_are_called_is_taken_as_it_is() -> None:
    made = mount(MountEntry(source="~/x", target="~/y"), HERE, ODD)
    assert (made.host, made.guest) == ("/home/[u]*/x", "/home/[u]*/y")
    assert mount(MountEntry(source="/home/*", target="/x", writable=True), HERE, PLACES).host == "/home/*"
