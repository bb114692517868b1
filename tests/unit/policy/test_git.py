"""Which repositories are fetched from and pushed to, which refs change, by rule."""

import msgspec
import pytest

from ringfence.model.decision import Source, Verdict
from ringfence.model.egress import Egress
from ringfence.model.git import GitRemote, LargeFiles, Pushes
from ringfence.policy.git import (
    Change,
    accepts_address,
    decide_fetch,
    decide_large_files,
    denied_paths,
    governed,
    matches_names,
    may_hold,
    pushing,
    refused_changes,
    stands_above,
    wants_content,
)

HERE = Source(scope="user", file="policy.toml", line=3)
AGENT = Pushes(refs=("refs/heads/agent/*",))
OLD, NEW = "1" * 40, "2" * 40


def remote(*repositories: str, **settings: object) -> GitRemote:
    return GitRemote(host="github.com", repositories=repositories, source=HERE, **settings)  # type: ignore[arg-type]  # of the caller's choosing


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("o/p", "o/p", True),
        ("o/p", "o/P", False),
        ("o/p", "o/p/q", False),
        ("o/*", "o/p", True),
        ("o/*", "o/p/q", False),
        ("o/p-*", "o/p-", True),
        ("o/*-p-*", "o/a-p-b", True),
        ("o/**", "o/p/q", True),
        ("o/**", "o", False),
        ("**", "o/p", True),
        ("**/p", "p", True),
        ("**/p", "a/b/p", True),
        ("**/p", "a/bp", False),
        ("a/**/p", "a/p", True),
        ("a/**/p", "a/b/c/p", True),
        ("o/p.q", "o/pxq", False),
        ("refs/heads/*", "refs/heads/a\nb", True),
        ("!o/p", "!o/p", False),
    ],
)
def test_patterns_of_names(pattern: str, name: str, expected: bool) -> None:
    assert matches_names((pattern,), name) == expected


def test_what_is_taken_out_stays_out() -> None:
    for patterns in (("o/*", "!o/Private*"), ("!o/Private*", "o/*")):
        assert matches_names(patterns, "o/public")
        assert not matches_names(patterns, "o/Private")
        assert not matches_names(patterns, "o/pRIVATE-too")
    assert not matches_names(("!o/p",), "o/q")
    assert matches_names(("o/*", "xo/p"), "o/p")


def test_a_host_without_remotes_is_not_governed() -> None:
    egress = Egress(git_remotes=(remote("o/*"),))
    assert governed(egress, "github.com")
    assert not governed(egress, "gist.github.com")
    wild = msgspec.structs.replace(remote("o/*"), host="*.ghe.example")
    assert governed(Egress(git_remotes=(wild,)), "eu.ghe.example") == (wild,)


def test_fetching_is_allowed_by_one_and_denied_by_any() -> None:
    remotes = (remote("o/*", reason="ours"), remote("o/secret", fetch=False), remote("w/p", push=AGENT))
    assert decide_fetch(remotes, "o/p").verdict is Verdict.ALLOW
    assert decide_fetch(remotes, "o/p").reason == "ours"
    assert decide_fetch(remotes, "w/p").reason == "allowed by a rule"
    assert decide_fetch(remotes, "o/p").source == HERE
    assert decide_fetch(remotes, "o/secret").verdict is Verdict.DENY
    assert decide_fetch(remotes, "q/p").verdict is Verdict.DENY
    assert pushing(remotes, "o/p") == ()
    assert pushing(remotes, "w/p") == ((remotes[2], AGENT),)


@pytest.mark.parametrize("lfs", LargeFiles)
def test_large_files(lfs: LargeFiles) -> None:
    remotes = (remote("o/p", lfs=lfs, push=AGENT), remote("o/r", lfs=lfs))
    downloads, uploads = lfs is not LargeFiles.NONE, lfs is LargeFiles.UPLOAD
    assert (decide_large_files(remotes, "o/p", upload=False).verdict is Verdict.ALLOW) == downloads
    assert (decide_large_files(remotes, "o/p", upload=True).verdict is Verdict.ALLOW) == uploads
    assert decide_large_files(remotes, "o/r", upload=True).verdict is Verdict.DENY
    assert (decide_large_files(remotes, "o/r", upload=False).verdict is Verdict.ALLOW) == downloads
    denied = (*remotes, remote("o/*", fetch=False))
    assert decide_large_files(denied, "o/p", upload=False).verdict is Verdict.DENY


def test_large_files_are_allowed_by_the_rule_that_speaks_of_them() -> None:
    reading = remote("o/p", reason="reading")
    large = remote("o/*", lfs=LargeFiles.DOWNLOAD, reason="large")
    assert decide_large_files((reading, large), "o/p", upload=False).reason == "large"
    given = remote("o/p", fetch=False, lfs=LargeFiles.UPLOAD, push=AGENT, reason="only given")
    assert decide_large_files((given,), "o/p", upload=True).verdict is Verdict.ALLOW
    assert decide_large_files((given,), "o/p", upload=False).verdict is Verdict.DENY


@pytest.mark.parametrize(
    ("pushes", "change", "told"),
    [
        (AGENT, Change(ref="refs/heads/agent/x", old="", new=NEW), ""),
        (AGENT, Change(ref="refs/heads/agent/x", old=OLD, new=NEW), ""),
        (AGENT, Change(ref="refs/heads/main", old=OLD, new=NEW), "no rule"),
        (AGENT, Change(ref="refs/heads/agent/x", old=OLD, new=""), "deleting"),
        (Pushes(refs=("**",), delete=True), Change(ref="refs/heads/x", old=OLD, new=""), ""),
        (Pushes(refs=("refs/tags/*",)), Change(ref="refs/tags/x", old="", new=NEW), ""),
        (Pushes(refs=("refs/tags/*",)), Change(ref="refs/tags/x", old=OLD, new=NEW), "moving tags"),
        (Pushes(refs=("refs/tags/*",), force=True), Change(ref="refs/tags/x", old=OLD, new=NEW), ""),
        (Pushes(), Change(ref="refs/heads/x", old="", new=NEW), "no rule"),
    ],
)
def test_changes(pushes: Pushes, change: Change, told: str) -> None:
    found = refused_changes(pushes, [change])
    assert (told in found[change.ref]) if told else not found


def test_too_many_changes_refuse_all_of_them() -> None:
    changes = [Change(ref=f"refs/heads/agent/{number}", old="", new=NEW) for number in range(3)]
    pushes = Pushes(refs=AGENT.refs, max_refs=2)
    assert set(refused_changes(pushes, changes)) == {change.ref for change in changes}
    assert refused_changes(Pushes(refs=AGENT.refs, max_refs=0), changes) == {}
    assert refused_changes(Pushes(refs=AGENT.refs, max_refs=3), changes) == {}
    assert len(refused_changes(Pushes(refs=AGENT.refs, max_refs=1), changes[:2])) == 2


def test_addresses() -> None:
    assert accepts_address((), "")
    assert accepts_address(("*@example.com",), "Me@EXAMPLE.com")
    assert not accepts_address(("*@example.com",), "me@example.com.evil.org")
    assert not accepts_address(("*@example.com",), "")
    assert not accepts_address(("a.b@x",), "aab@x")


def test_what_takes_looking_into_commits() -> None:
    assert not wants_content(Pushes(refs=("**",)))
    for more in (
        {"deny_paths": ("a",)},
        {"authors": ("a",)},
        {"committers": ("a",)},
        {"signed": True},
        {"max_commits": 1},
    ):
        assert wants_content(Pushes(refs=("**",), **more))


def test_directories_in_which_nothing_can_be_denied() -> None:
    (workflows, anywhere) = denied_paths((".github/workflows/**", "secret.txt"))
    assert (
        may_hold(workflows, "/") and may_hold(workflows, "/.GitHub/") and may_hold(workflows, "/.github/workflows/a/")
    )
    assert not may_hold(workflows, "/src/") and not may_hold(workflows, "/.github/actions/")
    assert may_hold(anywhere, "/src/")


def test_what_is_denied_in_any_letter_case() -> None:
    (secret,) = denied_paths(("Secret.txt",))
    assert secret.matches("/a/SECRET.TXT")


@pytest.mark.parametrize(
    ("denied", "path", "expected"),
    [
        ("a/b/c", "/a/b", True),
        ("a/b/c", "/a/b/c", True),
        ("a/b/c", "/a/b/c/d", False),
        ("a/b/*", "/a/b", True),
        ("a/b/c", "/a/x", False),
        ("c", "/a", False),
        ("*/c", "/", False),
    ],
)
def test_what_takes_the_place_of_all_that_is_denied(denied: str, path: str, expected: bool) -> None:
    (pattern,) = denied_paths((denied,))
    assert stands_above(pattern, path) is expected
