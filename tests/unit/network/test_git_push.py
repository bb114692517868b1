"""Verdicts on pushes out of packs made by hand, with a server that is asked."""

import asyncio
from collections.abc import Sequence

import pytest

from ringfence.model.git import Pushes
from ringfence.network import git_push
from ringfence.network.git_push import Store, Uninspectable, judge, needs_inspection, stale
from ringfence.network.malformed import Malformed
from ringfence.policy.git import Change
from tests.unit.network.packs import BLOB, COMMIT, TREE, Whole, commit, identifier, pack, taken, tree

FILE, OTHER = identifier(BLOB, b"a"), identifier(BLOB, b"b")
BRANCH = "refs/heads/x"
ANY = ("**",)


def store(*entries: Whole) -> Store:
    """A pack that was read."""
    data = pack(entries)
    return Store(taken(data), lambda offset, size: data[offset : offset + size])


def made(files: dict[bytes, bytes], *parents: bytes, text: bytes = b"m\n") -> tuple[bytes, list[Whole]]:
    """A commit with its tree: its name, and the entries."""
    root = tree({name: (b"100644", found) for name, found in files.items()})
    content = commit(identifier(TREE, root), *parents, text=text)
    return identifier(COMMIT, content), [(TREE, root), (COMMIT, content)]


BASE, BASE_ENTRIES = made({b"a": FILE, b"ci.yml": FILE})


class FakeServer:
    """Holds what it is told to hold, and gives snapshots of `BASE`."""

    def __init__(self, *, holding: bool = False) -> None:
        self.holding = holding
        self.asked: list[tuple[list[str], list[str]]] = []

    async def holds(self, tips: Sequence[str], wanted: Sequence[str]) -> bool:
        self.asked.append((list(tips), list(wanted)))
        return self.holding

    async def snapshots(self, commits: Sequence[str]) -> Store:
        assert list(commits) == [BASE.hex()]
        return store(*BASE_ENTRIES)


def verdict(
    pushes: Pushes, change: Change, pushed: Store, tips: Sequence[bytes] = (BASE,), *, holding: bool = False
) -> str:
    """Judge one change; the reason against it."""
    server = FakeServer(holding=holding)
    known = frozenset(name.hex() for name in tips)
    return asyncio.run(judge(pushes, [change], pushed, tips=known, server=server)).get(change.ref, "")


def create(name: bytes) -> Change:
    return Change(ref=BRANCH, old="", new=name.hex())


def update(old: bytes, new: bytes) -> Change:
    return Change(ref=BRANCH, old=old.hex(), new=new.hex())


CHILD, CHILD_ENTRIES = made({b"a": OTHER, b"ci.yml": FILE}, BASE)
EVIL, EVIL_ENTRIES = made({b"a": FILE, b"ci.yml": OTHER}, BASE)


def test_a_fast_forward_meets_the_old_tip() -> None:
    assert verdict(Pushes(refs=ANY), update(BASE, CHILD), store(*CHILD_ENTRIES)) == ""
    assert "fast-forward" in verdict(Pushes(refs=ANY), update(b"\5" * 20, CHILD), store(*CHILD_ENTRIES))
    assert verdict(Pushes(refs=ANY, force=True), update(b"\5" * 20, CHILD), store(*CHILD_ENTRIES)) == ""


def test_the_server_is_asked_where_the_walk_leaves_the_pack() -> None:
    assert verdict(Pushes(refs=ANY), update(b"\5" * 20, CHILD), store(*CHILD_ENTRIES), holding=True) == ""
    assert verdict(Pushes(refs=ANY), update(b"\5" * 20, BASE), store(), holding=True) == ""
    assert "fast-forward" in verdict(Pushes(refs=ANY), update(b"\5" * 20, BASE), store())


def test_a_history_that_ends_in_the_pack_has_no_edge_to_ask_about() -> None:
    assert "fast-forward" in verdict(Pushes(refs=ANY), update(CHILD, BASE), store(*BASE_ENTRIES), holding=True)


def test_changes_of_denied_paths() -> None:
    deny = Pushes(refs=ANY, deny_paths=("ci.yml",))
    assert verdict(deny, create(CHILD), store(*CHILD_ENTRIES)) == ""
    assert "changes ci.yml" in verdict(deny, create(EVIL), store(*EVIL_ENTRIES))


@pytest.mark.parametrize("mode", [b"120000", b"160000"])
def test_a_link_where_a_denied_directory_would_be(mode: bytes) -> None:
    """What is below the link is then elsewhere, where nothing is denied."""
    for name, pattern, refused in [
        (b"ci", "ci/**", True),
        (b"CI", "ci/jobs/*.yml", True),
        (b"ci", "/ci/jobs", True),
        (b"ci", "other/**", False),
        (b"ci", "**/jobs", False),
        (b"ci", "cider/**", False),
    ]:
        root = tree({b"a": (b"100644", FILE), b"ci.yml": (b"100644", FILE), name: (mode, OTHER)})
        content = commit(identifier(TREE, root), BASE)
        pushed = store((TREE, root), (COMMIT, content))
        deny = Pushes(refs=ANY, deny_paths=(pattern,))
        assert bool(verdict(deny, create(identifier(COMMIT, content)), pushed)) is refused, pattern


def test_a_directory_under_a_mode_that_git_reads_too() -> None:
    """`0040000` is a directory for git, so it must not pass for a file that no pattern speaks of."""
    inner = tree({b"evil.yml": (b"100644", FILE)})
    root = tree({b"ci": (b"0040000", identifier(TREE, inner))})
    content = commit(identifier(TREE, root), BASE)
    with pytest.raises(Malformed):
        verdict(
            Pushes(refs=ANY, deny_paths=("ci/**",)),
            create(identifier(COMMIT, content)),
            store((TREE, inner), (TREE, root), (COMMIT, content)),
        )


def test_a_merge_may_take_either_side_and_nothing_else() -> None:
    deny = Pushes(refs=ANY, deny_paths=("ci.yml",))
    taking, entries = made({b"a": FILE, b"ci.yml": FILE}, BASE, CHILD)
    assert verdict(deny, create(taking), store(*entries, *CHILD_ENTRIES)) == ""
    neither, entries = made({b"a": FILE, b"ci.yml": OTHER}, BASE, CHILD)
    assert "ci.yml" in verdict(deny, create(neither), store(*entries, *CHILD_ENTRIES))
    without, entries = made({b"a": FILE}, BASE, CHILD)
    assert "ci.yml" in verdict(deny, create(without), store(*entries, *CHILD_ENTRIES))


def test_what_leads_out_of_the_pack_must_be_the_servers() -> None:
    deny = Pushes(refs=ANY, max_commits=9)
    assert verdict(deny, create(CHILD), store(*CHILD_ENTRIES)) == ""
    assert verdict(deny, create(CHILD), store(*CHILD_ENTRIES), tips=(), holding=True) == ""
    with pytest.raises(Uninspectable, match="neither in the pack"):
        verdict(deny, create(CHILD), store(*CHILD_ENTRIES), tips=())
    with pytest.raises(Uninspectable):
        verdict(deny, create(CHILD), store())


def test_a_tree_that_nobody_has() -> None:
    with pytest.raises(Uninspectable, match="tree"):
        verdict(Pushes(refs=ANY, deny_paths=("ci.yml",)), create(CHILD), store(CHILD_ENTRIES[1]))


def test_directories_that_are_too_deep() -> None:
    inner, entries = tree({b"f": (b"100644", FILE)}), []
    for _ in range(300):
        entries.append((TREE, inner))
        inner = tree({b"d": (b"40000", identifier(TREE, inner))})
    content = commit(identifier(TREE, inner))
    entries += [(TREE, inner), (COMMIT, content)]
    with pytest.raises(Uninspectable, match="deep"):
        verdict(Pushes(refs=ANY, deny_paths=("secret",)), create(identifier(COMMIT, content)), store(*entries))


def test_directories_with_too_many_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A merge of many parents has all of their directories in memory at once."""
    monkeypatch.setattr(git_push, "MAX_NAMES", 4)
    deny = Pushes(refs=ANY, deny_paths=("ci.yml",))
    assert verdict(deny, create(CHILD), store(*CHILD_ENTRIES)) == ""
    merge, entries = made({b"a": OTHER, b"ci.yml": FILE, b"c": FILE}, BASE, CHILD)
    with pytest.raises(Uninspectable, match="names"):
        verdict(deny, create(merge), store(*entries, *CHILD_ENTRIES))


def test_too_many_commits_to_compare_with() -> None:
    entries: list[Whole] = []
    parents = []
    for number in range(70):
        name, more = made({b"a": FILE}, bytes([number]) * 20)
        parents.append(name)
        entries += more
    top, more = made({b"a": FILE}, *parents[:60])
    last, others = made({b"a": FILE}, top, *parents[60:])
    with pytest.raises(Uninspectable, match="compared"):
        verdict(Pushes(refs=ANY, deny_paths=("b",)), create(last), store(*entries, *more, *others), holding=True)


def test_a_client_must_say_what_the_server_says() -> None:
    changes = [update(BASE, CHILD), Change(ref="refs/heads/new", old="", new=CHILD.hex())]
    assert stale(changes, {BRANCH: BASE.hex()}) == {}
    assert set(stale(changes, {BRANCH: CHILD.hex(), "refs/heads/new": BASE.hex()})) == {BRANCH, "refs/heads/new"}


def test_what_takes_inspection() -> None:
    deleting = Change(ref=BRANCH, old=BASE.hex(), new="")
    assert not needs_inspection(Pushes(refs=ANY), [create(CHILD), deleting])
    assert needs_inspection(Pushes(refs=ANY), [update(BASE, CHILD)])
    assert not needs_inspection(Pushes(refs=ANY, force=True), [update(BASE, CHILD)])
    assert needs_inspection(Pushes(refs=ANY, signed=True, force=True), [create(CHILD)])
    assert not needs_inspection(Pushes(refs=ANY, signed=True, delete=True), [deleting])
