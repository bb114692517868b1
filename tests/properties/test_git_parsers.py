"""git's parsers: garbage is read or `Malformed`, no third thing; what dulwich makes is read as dulwich reads it."""

import ast
import hashlib
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.network import git_advertisement, git_endpoints, git_entries, git_objects, git_pack, git_packets
from ringfence.network.git_advertisement import read_advertisement
from ringfence.network.git_endpoints import endpoint
from ringfence.network.git_objects import (
    BLOB,
    COMMIT,
    TREE,
    apply_delta,
    finished,
    identifier,
    read_commit,
    read_tag,
    read_tree,
)
from ringfence.network.git_packets import Asking, Commands, Packets, packet_line
from ringfence.network.malformed import Malformed
from ringfence.policy.git import matches_names
from tests.purity import impure
from tests.unit.network.packs import WHO, Whole, commit, delta, pack, taken, tree

objects = pytest.importorskip("dulwich.objects")
packing = pytest.importorskip("dulwich.pack")
formats = pytest.importorskip("dulwich.object_format")
NAMES = st.from_regex(rb"[a-z]{1,6}", fullmatch=True)
BYTES_20 = st.binary(min_size=20, max_size=20)
TREES = st.dictionaries(NAMES, st.tuples(st.sampled_from([b"100644", b"40000", b"160000"]), BYTES_20), max_size=5).map(
    tree
)
COMMITS = st.builds(
    lambda name, parents, text: commit(name, *parents, text=text),
    BYTES_20,
    st.lists(BYTES_20, max_size=3),
    st.binary(max_size=50).filter(lambda text: b"\0" not in text),
)
WHOLES = st.one_of(
    TREES.map(lambda data: (TREE, data)),
    COMMITS.map(lambda data: (COMMIT, data)),
    st.binary(max_size=300).map(lambda data: (BLOB, data)),
)


@pytest.mark.parametrize("module", [git_advertisement, git_endpoints, git_entries, git_objects, git_pack, git_packets])
def test_the_parsers_touch_nothing(module: Any) -> None:
    with open(module.__file__, encoding="utf-8") as file:
        parsed = ast.parse(file.read())
    for node in ast.walk(parsed):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not any(impure(name) for name in names)


@given(st.lists(WHOLES, max_size=8), st.lists(st.integers(0, 3000), max_size=6))
def test_packs_are_read_as_they_were_made(entries: list[Whole], cuts: list[int]) -> None:
    data = pack(entries)
    found = taken(data, pieces=[cut for cut in cuts if cut < len(data)])
    assert set(found.offsets) == {identifier(kind, content) for kind, content in entries if kind != BLOB}


@given(st.lists(WHOLES, min_size=1, max_size=8), st.booleans())
def test_packs_of_dulwich_have_the_names_that_dulwich_gives(entries: list[Whole], deltify: bool) -> None:
    shas = [objects.ShaFile.from_raw_string(kind, content) for kind, content in entries]
    shas = list({one.id: one for one in shas}.values())
    file = io.BytesIO()
    packing.write_pack_objects(file.write, shas, formats.SHA1, deltify=deltify)
    found = taken(file.getvalue())
    assert set(found.offsets) == {one.sha().digest() for one in shas if one.type_num != BLOB}


@given(st.binary(max_size=400), st.binary(max_size=400))
def test_deltas_of_dulwich_make_what_dulwich_makes(base: bytes, target: bytes) -> None:
    difference = b"".join(packing.create_delta(base, target))
    assert finished(apply_delta(base, difference)) == target == b"".join(packing.apply_delta(base, difference))


@given(st.binary(max_size=60), st.binary(max_size=80))
def test_any_bytes_are_a_delta_or_malformed(base: bytes, difference: bytes) -> None:
    try:
        made = finished(apply_delta(base, difference))
    except Malformed:
        return
    assert made == b"".join(packing.apply_delta(base, difference))


@given(COMMITS)
def test_commits_are_read_as_dulwich_reads_them(content: bytes) -> None:
    theirs = objects.Commit.from_string(content)
    ours = read_commit(content)
    assert ours.tree.hex().encode() == theirs.tree
    assert [parent.hex().encode() for parent in ours.parents] == theirs.parents
    assert f"<{ours.author}>".encode() in theirs.author and theirs.author in WHO


@given(TREES)
def test_trees_are_read_as_dulwich_reads_them(content: bytes) -> None:
    theirs = {item.path: (item.mode, item.sha) for item in objects.Tree.from_string(content).iteritems()}
    ours = {name: (int(entry.mode, 8), entry.identifier.hex().encode()) for name, entry in read_tree(content).items()}
    assert ours == theirs


@given(
    st.binary(), st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=4), st.lists(WHOLES, max_size=3)
)
def test_any_bytes_are_a_pack_or_malformed(data: bytes, changes: list[tuple[int, int]], entries: list[Whole]) -> None:
    changed = bytearray(pack([*entries, ("ref", hashlib.sha1(data).digest(), delta(b"", b"x"))]))
    for place, value in changes:
        changed[place % len(changed)] = value
    for attempt in (data, b"PACK\0\0\0\2\0\0\0\1" + data, bytes(changed)):
        try:
            taken(attempt)
        except Malformed:
            pass


@given(st.binary())
def test_any_bytes_are_objects_or_malformed(data: bytes) -> None:
    for read in (read_commit, read_tag, read_tree):
        try:
            read(data)
        except Malformed:
            pass


@given(st.lists(st.binary(max_size=100)), st.integers(1, 9))
def test_packets_go_round(payloads: list[bytes], step: int) -> None:
    data, packets, found = b"".join(map(packet_line, payloads)), Packets(), []
    for at in range(0, len(data), step):
        packets.feed(data[at : at + step])
        while (packet := packets.take()) is not None:
            found.append(packet)
    assert found == payloads
    assert packets.rest() == b""


@given(st.binary() | st.lists(st.binary(max_size=90).map(packet_line)).map(b"".join), st.integers(1, 9))
def test_any_bytes_are_commands_or_malformed(data: bytes, step: int) -> None:
    """Whatever the pieces: what is asked is the same, and so is what goes on to the server."""

    def read(size: int) -> Asking | str | None:
        commands = Commands()
        try:
            for at in range(0, len(data), size):
                if (found := commands.feed(data[at : at + size])) is not None:
                    return found
        except Malformed as error:
            return error.reason
        return None

    whole, pieces = read(len(data) or 1), read(step)
    assert whole == pieces
    if isinstance(whole, Asking):
        assert data.lower().startswith(whole.head.lower())


@given(st.binary())
def test_any_bytes_are_an_advertisement_or_malformed(data: bytes) -> None:
    for attempt in (data, packet_line(b"# service=git-receive-pack\n") + b"0000" + data):
        try:
            read_advertisement(attempt)
        except Malformed:
            pass


PATHS = st.from_regex(r"(/[a-zA-Z.%;]{0,8}){0,4}(/info/refs|/git-(upload|receive)-pack|/info/lfs/x)?/?", fullmatch=True)


@given(st.sampled_from(["GET", "POST", "PUT"]), PATHS, st.sampled_from(["", "service=git-receive-pack", "a"]))
def test_a_service_is_never_missed(method: str, path: str, query: str) -> None:
    try:
        found = endpoint(method, path, query)
    except Malformed:
        return
    if "git-receive-pack" in path or path.endswith("/info/refs"):
        assert found is not None
    if found is not None:
        assert f"/{found.repository}" in (found.root, found.root.removesuffix(".git"))
        assert ".." not in found.repository.split("/")


@given(
    st.lists(st.sampled_from(["a", "b*", "*", "**", "*a*"]), min_size=1, max_size=5),
    st.lists(st.sampled_from("ab"), min_size=1, max_size=5),
)
def test_two_stars_match_no_less_than_one(pattern: list[str], name: list[str]) -> None:
    looser = ["**" if part == "*" else part for part in pattern]
    if matches_names(("/".join(pattern),), "/".join(name)):
        assert matches_names(("/".join(looser),), "/".join(name))
