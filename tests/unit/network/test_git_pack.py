"""Packs read as they arrive: names of what is in them, through deltas of both kinds, and what is refused."""

import hashlib
import zlib

import pytest

from ringfence.network import git_pack
from ringfence.network.git_objects import Commit
from ringfence.network.malformed import Malformed
from tests.unit.network.packs import BLOB, COMMIT, TREE, commit, content_of, delta, head, identifier, pack, taken, tree
from tests.unit.network.packs import number as size

FILE = identifier(BLOB, b"file")
ROOT = tree({b"f": (b"100644", FILE)})
ROOT_NAME = identifier(TREE, ROOT)
FIRST = commit(ROOT_NAME)
FIRST_NAME = identifier(COMMIT, FIRST)
ENTRIES = [(COMMIT, FIRST), (TREE, ROOT), (BLOB, b"file")]


def test_commits_and_trees_are_known_by_name() -> None:
    data = pack(ENTRIES)
    found = taken(data)
    assert found.commits == {FIRST_NAME: Commit(ROOT_NAME, (), "a@example.com", "a@example.com")}
    assert set(found.offsets) == {FIRST_NAME, ROOT_NAME}
    assert content_of(found, data, ROOT_NAME) == ROOT


def test_trees_are_left_where_they_are_not_wanted() -> None:
    assert set(taken(pack(ENTRIES), trees=False).offsets) == {FIRST_NAME}


@pytest.mark.parametrize("step", [1, 2, 7, 31])
def test_it_may_arrive_in_any_pieces(step: int) -> None:
    data = pack(ENTRIES)
    assert taken(data, pieces=range(step, len(data), step)).offsets == taken(data).offsets


def test_deltas_by_offset_and_by_name_in_any_order() -> None:
    second = ROOT + tree({b"g": (b"100644", FILE)})
    third = second + tree({b"h": (b"100644", FILE)})
    made = [identifier(TREE, content) for content in (second, third)]
    data = pack(
        [
            ("ref", made[0], delta(second, third[len(second) :])),  # its base comes later, and is a delta itself
            (TREE, ROOT),
            ("ofs", 1, delta(ROOT, second[len(ROOT) :])),
        ]
    )
    found = taken(data)
    assert set(found.offsets) == {ROOT_NAME, *made}
    assert content_of(found, data, made[1]) == third


def test_commits_are_found_in_deltas_without_trees() -> None:
    child = commit(ROOT_NAME, FIRST_NAME, text=b"m\nand more\n")
    data = pack([(COMMIT, FIRST), (TREE, ROOT), ("ofs", 0, delta(FIRST, child, keep=0)), ("ofs", 1, delta(ROOT, b""))])
    assert set(taken(data, trees=False).commits) == {FIRST_NAME, identifier(COMMIT, child)}


def test_deltas_of_files_and_of_what_is_elsewhere_are_left() -> None:
    data = pack([(BLOB, b"file"), ("ofs", 0, delta(b"file", b"x")), ("ref", b"\7" * 20, delta(b"?", b"x"))])
    assert taken(data).offsets == {}


def test_a_delta_on_itself_by_name_makes_nothing() -> None:
    assert taken(pack([("ref", ROOT_NAME, delta(ROOT, b""))])).offsets == {}


def test_a_name_that_leads_back_ends() -> None:
    """The same object twice, the second time as a delta on what is made of the first."""
    other = ROOT + tree({b"g": (b"100644", FILE)})
    data = pack(
        [(TREE, ROOT), ("ref", ROOT_NAME, delta(ROOT, other[len(ROOT) :])), ("ofs", 1, delta(other, b"", len(ROOT)))]
    )
    found = taken(data)
    assert content_of(found, data, identifier(TREE, other)) == other
    assert content_of(found, data, ROOT_NAME) == ROOT


WHOLE = pack(ENTRIES)
BAD = {
    "another format": b"KCAP" + WHOLE[4:],
    "another version": WHOLE[:7] + b"\4" + WHOLE[8:],
    "more than it says": pack(ENTRIES, count=2),
    "fewer than it says": pack(ENTRIES, count=4),
    "cut short": WHOLE[:-1],
    "bytes behind it": WHOLE + b"x",
    "nothing": b"",
    "a million million objects": b"PACK\0\0\0\2\xff\xff\xff\xff" + bytes(20),
    "a kind that is none": b"PACK\0\0\0\2\0\0\0\1" + head(5, 1) + zlib.compress(b"x") + bytes(20),
    "a kind that is nothing": b"PACK\0\0\0\2\0\0\0\1" + head(0, 1) + zlib.compress(b"x") + bytes(20),
    "a header without end": b"PACK\0\0\0\2\0\0\0\1" + b"\xff" * 60,
    "no zlib": b"PACK\0\0\0\2\0\0\0\1" + head(BLOB, 5) + b"hello" + bytes(20),
    "longer than it says": b"PACK\0\0\0\2\0\0\0\1" + head(BLOB, 3) + zlib.compress(b"hello") + bytes(20),
    "shorter than it says": b"PACK\0\0\0\2\0\0\0\1" + head(BLOB, 9) + zlib.compress(b"hello") + bytes(20),
    "a base before the pack": b"PACK\0\0\0\2\0\0\0\1" + head(6, 3) + b"\x7f" + zlib.compress(b"\0\0\0") + bytes(20),
    "a base between objects": pack([(TREE, ROOT)], count=2)[:-20]
    + head(6, 3)
    + b"\1"
    + zlib.compress(b"\0\0\0")
    + bytes(20),
    "a commit that is none": pack([(COMMIT, b"hello")]),
    "a delta of another base": pack([(TREE, ROOT), ("ofs", 0, delta(ROOT + b"x", b""))]),
    "a delta that makes no commit": pack([(COMMIT, FIRST), ("ofs", 0, delta(FIRST, b"no", keep=3))]),
    "too large a commit": b"PACK\0\0\0\2\0\0\0\1" + head(COMMIT, 1 << 25) + zlib.compress(b"x") + bytes(20),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_pack_is_malformed(what: str) -> None:
    with pytest.raises(Malformed):
        taken(BAD[what])


def test_what_inflates_for_ever_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_pack, "MAX_INFLATED", 1 << 20)
    with pytest.raises(Malformed, match="inflates"):
        taken(pack([(BLOB, bytes(1 << 19)), (BLOB, bytes(1 << 20))]))


def test_too_many_objects_to_look_into_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_pack, "MAX_KEPT", 2)
    trees = [(TREE, tree({b"%d" % number: (b"100644", FILE)})) for number in range(5)]
    with pytest.raises(Malformed, match="too many"):
        taken(pack(trees))


def test_too_much_work_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_pack, "MAX_WORK", 10_000)
    monkeypatch.setattr(git_pack, "CACHE_BYTES", 1)
    chain = [("ofs", number, delta(ROOT, b"")) for number in range(100)]
    with pytest.raises(Malformed, match="work"):
        taken(pack([(TREE, ROOT), *chain]))


def test_deltas_that_only_take_room_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Megabytes of differences that make a few bytes: a chain of them is held until its base is there."""
    monkeypatch.setattr(git_pack, "MAX_CHAIN_BYTES", 2000)
    monkeypatch.setattr(git_pack, "CACHE_BYTES", 1)
    data = pack([(TREE, ROOT), *[("ofs", number, _bloated(ROOT, number)) for number in range(20)]])
    found = taken(data)
    assert content_of(found, data, ROOT_NAME) == ROOT  # and nothing else is in the cache
    with pytest.raises(Malformed, match="too long"):
        content_of(found, data, identifier(TREE, ROOT[:-1] + bytes([19])))
    monkeypatch.setattr(git_pack, "MAX_WORK", 100_000)
    with pytest.raises(Malformed, match="work"):
        taken(data)


def _bloated(base: bytes, last: int) -> bytes:
    """A difference that copies byte by byte, in the longest spelling; its result is as long as the base."""
    body = b"".join(b"\xff" + at.to_bytes(4, "little") + b"\1\0\0" for at in range(len(base) - 1))
    return size(len(base)) + size(len(base)) + body + b"\1" + bytes([last])


def test_little_is_kept_of_a_large_pack() -> None:
    found = git_pack.Pack(trees=True)
    data = pack([(BLOB, hashlib.sha256(b"%d" % number).digest() * 1000) for number in range(50)])
    for at in range(0, len(data), 1000):
        found.feed(data[at : at + 1000])
    found.finish()
    assert found.offsets == {}
