"""The verdict on a push, before anything of it reaches the server.

Theory of operation. The refs are the server's own, asked for anew: what a client says it found there counts only if it
is the same. From the new tips the walk goes through the commits of the pack, and where it leaves the pack is its
*edge*. A push is a fast-forward if the walk meets the old tip, or the server, asked what is missing for someone who has
the edge and wants the old tip, answers: nothing. In the same way the edge must lead to nothing that the server's
branches and tags do not hold, where the rule speaks of commits: so all that is new has been looked into.

A commit changes a path if what is there is in none of its parents. Trees of parents on the edge are fetched from the
server. So a merge may bring what either side has, and nothing of its own.

SECURITY: an object's name is the digest of its content, so it does not matter what else a pack holds, or hides in
deltas whose base nobody has: nothing is judged by what is absent, only by what has been read or what the server says it
has already. What can be had neither way is `Uninspectable`, and the push is refused.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from ringfence.model.git import Pushes
from ringfence.policy.git import Change, accepts_address, denied_paths, may_hold, stands_above, wants_content
from ringfence.policy.patterns import Pattern

from .git_objects import Commit, Entry, read_tree
from .git_pack import Pack, Read
from .git_signature import problem
from .malformed import Malformed

MAX_BASES = 64
MAX_UNKNOWN = 256
MAX_DEPTH = 256
MAX_NAMES = 500_000  # in one directory of a commit and its parents, together
EACH_TURN = 64  # steps before others get their turn
NO_TREE: dict[bytes, Entry] = {}


class Uninspectable(Malformed):
    """What a rule must know of a push cannot be known."""

    code = "push-denied"


class Store(msgspec.Struct, frozen=True):
    """A pack that has been read, and where it lies."""

    pack: Pack
    read: Read


class Server(Protocol):
    """The server that is pushed to, as far as it is asked."""

    async def holds(self, tips: Sequence[str], wanted: Sequence[str]) -> bool:
        """Tell whether `tips` lead to all of `wanted`."""

    async def snapshots(self, commits: Sequence[str]) -> Store:
        """Give these commits with their trees; raise `Malformed` where the server does not."""


class Walk(msgspec.Struct, frozen=True):
    """The commits in a pack that some tips lead to, and the names that lead out of it."""

    commits: dict[bytes, Commit]
    edge: frozenset[bytes]


def needs_inspection(pushes: Pushes, changes: Sequence[Change]) -> bool:
    """Tell whether a verdict takes more than the refs that are named."""
    return any(change.new and ((change.old and not pushes.force) or wants_content(pushes)) for change in changes)


def stale(changes: Sequence[Change], refs: Mapping[str, str]) -> dict[str, str]:
    """Return the refs of which the client says other than the server, with the reason."""
    return {
        change.ref: "it has changed on the server (fetch first)"
        for change in changes
        if refs.get(change.ref, "") != change.old
    }


async def judge(
    pushes: Pushes, changes: Sequence[Change], store: Store, *, tips: frozenset[str], server: Server
) -> dict[str, str]:
    """Return the refs that may not be changed, with reasons; raise `Malformed` where that cannot be told.

    `store` holds what is pushed, `tips` are the objects that the server's branches and tags point to.
    """
    await patiently(store.pack.resolve(store.read))
    if not pushes.force:
        for change in changes:
            if change.old and change.new and not await _is_forward(change, store, server):
                return {change.ref: "not a fast-forward, and the rule does not allow force"}
    made = [change for change in changes if change.new]
    if not wants_content(pushes) or not made:
        return {}
    walk = walked(store.pack, [bytes.fromhex(change.new) for change in made])
    await _check_edge(walk, tips, server)
    reason = _unwanted(pushes, walk, store.pack)
    if not reason and pushes.signed:
        reason = await _badly_signed(pushes, walk, store)
    if not reason and pushes.deny_paths:
        reason = await _denied_change(pushes, walk, store, server)
    return {change.ref: reason for change in made} if reason else {}


def walked(pack: Pack, tips: Sequence[bytes]) -> Walk:
    """Follow commits through a pack."""
    commits: dict[bytes, Commit] = {}
    edge: set[bytes] = set()
    left = list(tips)
    while left:
        name = left.pop()
        tag = pack.tags.get(name)
        found = pack.commits.get(name)
        if tag is not None:
            left.append(tag.target)
        elif found is None:
            edge.add(name)
        elif name not in commits:
            commits[name] = found
            left += found.parents
    return Walk(commits, frozenset(edge))


async def patiently(steps: Iterator[None], *, each: int = EACH_TURN) -> None:
    """Carry steps out, with a turn for others after `each` of them."""
    for number, _ in enumerate(steps):
        if number % each == 0:
            await asyncio.sleep(0)


async def _is_forward(change: Change, store: Store, server: Server) -> bool:
    old, new = bytes.fromhex(change.old), bytes.fromhex(change.new)
    walk = walked(store.pack, [new])
    if old in walk.commits or old in walk.edge:
        return True
    return bool(walk.edge) and await server.holds([name.hex() for name in walk.edge], [change.old])


async def _check_edge(walk: Walk, tips: frozenset[str], server: Server) -> None:
    unknown = [name.hex() for name in walk.edge if name.hex() not in tips]
    if len(unknown) > MAX_UNKNOWN or (unknown and not await server.holds(sorted(tips), unknown)):
        raise Uninspectable(f"{unknown[0][:12]} is neither in the pack nor in a branch or tag of the server")


def _unwanted(pushes: Pushes, walk: Walk, pack: Pack) -> str:
    """Say what is wrong with the commits, and with who made them; empty where nothing is."""
    if len(walk.commits) > pushes.max_commits > 0:
        return f"{len(walk.commits)} new commits, and the rule allows {pushes.max_commits}"
    for name, commit in walk.commits.items():
        where = f"commit {name.hex()[:12]}"
        if not accepts_address(pushes.authors, commit.author):
            return f"{where}: the rule does not allow the author <{commit.author}>"
        if not accepts_address(pushes.committers, commit.committer):
            return f"{where}: the rule does not allow the committer <{commit.committer}>"
    for tag in pack.tags.values():
        if not accepts_address(pushes.committers, tag.tagger):
            return f"a tag: the rule does not allow the tagger <{tag.tagger}>"
    return ""


async def _badly_signed(pushes: Pushes, walk: Walk, store: Store) -> str:
    for name in walk.commits:
        if reason := problem(store.pack.content(store.read, name), pushes.signers, time.time()):
            return f"commit {name.hex()[:12]}: {reason}"
        await asyncio.sleep(0)
    return ""


async def _denied_change(pushes: Pushes, walk: Walk, store: Store, server: Server) -> str:
    bases = {parent for commit in walk.commits.values() for parent in commit.parents} - walk.commits.keys()
    if len(bases) > MAX_BASES:
        raise Uninspectable(f"more than {MAX_BASES} commits of the server would have to be compared with")
    stores = [store]
    if bases:
        stores.append(await server.snapshots(sorted(name.hex() for name in bases)))
        await patiently(stores[1].pack.resolve(stores[1].read))
    comparison = Comparison(stores, pushes.deny_paths)
    for name, commit in walk.commits.items():
        await patiently(comparison.look(commit))
        if comparison.found:
            return f"commit {name.hex()[:12]} changes {comparison.found}, which the rule denies"
    return ""


class Comparison:
    """Commits and their parents, compared path by path; `found` is a denied path that was changed."""

    def __init__(self, stores: Sequence[Store], patterns: tuple[str, ...]) -> None:
        self.found = ""
        self._stores = stores
        self._patterns = denied_paths(patterns)
        self._seen: set[tuple[str, bytes, tuple[bytes, ...]]] = set()

    def look(self, commit: Commit) -> Iterator[None]:
        """Compare one commit with its parents; gives way at each directory."""
        parents = tuple(self._commit(parent).tree for parent in commit.parents)
        left: list[tuple[str, bytes, tuple[bytes, ...]]] = [("/", commit.tree, parents)]
        while left and not self.found:
            step = left.pop()
            if step in self._seen or step[1] in step[2] or not self._matters(step[0]):
                continue
            self._seen.add(step)
            left += self._changed(*step)
            yield

    def _changed(
        self, place: str, own: bytes, parents: tuple[bytes, ...]
    ) -> Iterator[tuple[str, bytes, tuple[bytes, ...]]]:
        """Note a denied change in one directory; give the directories in it that differ."""
        if place.count("/") > MAX_DEPTH:
            raise Uninspectable("directories that are too deep")
        mine, others = self._tree(own), list[Mapping[bytes, Entry]]()
        for parent in parents:
            others.append(self._tree(parent))
            if sum(map(len, others), len(mine)) > MAX_NAMES:
                raise Uninspectable("directories with too many names to compare")
        for name in mine.keys() | set().union(*others):
            entry, before = mine.get(name), [other.get(name) for other in others]
            if entry in before:
                continue
            path = place + name.decode("utf-8", "surrogateescape")
            if any(pattern.matches(path) or _hides(pattern, path, entry) for pattern in self._patterns):
                self.found = path[1:].encode("utf-8", "backslashreplace").decode()
                return
            if any(one is not None and one.is_directory for one in (entry, *before)):
                yield path + "/", _directory(entry), tuple(_directory(one) for one in before)

    def _matters(self, place: str) -> bool:
        return any(may_hold(pattern, place) for pattern in self._patterns)

    def _commit(self, name: bytes) -> Commit:
        for store in self._stores:
            if name in store.pack.commits:
                return store.pack.commits[name]
        raise Uninspectable(f"commit {name.hex()[:12]} could not be had from the server")

    def _tree(self, name: bytes) -> Mapping[bytes, Entry]:
        if not name:
            return NO_TREE
        for store in self._stores:
            if name in store.pack.offsets:
                return read_tree(store.pack.content(store.read, name))
        raise Uninspectable(f"tree {name.hex()[:12]} is neither in the pack nor in the parents of its commit")


def _hides(pattern: Pattern, path: str, entry: Entry | None) -> bool:
    """Tell whether a link, or another repository, stands where the directory of denied files would."""
    return entry is not None and entry.is_link and stands_above(pattern, path)


def _directory(entry: Entry | None) -> bytes:
    """Give the name of the tree that an entry stands for; empty where it is none, which holds nothing."""
    return entry.identifier if entry is not None and entry.is_directory else b""
