"""Commits, tags, trees and deltas as bytes."""

import pytest

from ringfence.network.git_objects import INSTRUCTIONS_A_STEP, apply_delta, finished, read_commit, read_tag, read_tree
from ringfence.network.malformed import Malformed
from tests.unit.network.packs import WHO, commit, delta, number, tree

TREE_NAME, PARENT = b"\1" * 20, b"\2" * 20
SIGNED = b"gpgsig -----BEGIN SSH SIGNATURE-----\n author B <b@example.com> 1 +0000\n -----END SSH SIGNATURE-----\n"


def test_a_commit() -> None:
    found = read_commit(commit(TREE_NAME, PARENT, PARENT, more=SIGNED, author=b" <B@x> 1 -0100"))
    assert (found.tree, found.parents, found.author) == (TREE_NAME, (PARENT, PARENT), "B@x")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        commit(TREE_NAME).replace(b"tree ", b"tree  "),
        commit(TREE_NAME, author=b"A <a@x> <b@x> 1 +0000"),
        commit(TREE_NAME, author=b"A a@x 1 +0000"),
        commit(TREE_NAME, author=b"A <a@x>"),
        commit(TREE_NAME, author=WHO + b"\nauthor " + WHO),
        commit(TREE_NAME, more=b"author " + WHO + b"\n"),
        commit(TREE_NAME, more=b"gpgsig x\ncommitter " + WHO + b"\n"),
        commit(TREE_NAME, more=b"parent " + b"1" * 40 + b"\n"),
        commit(TREE_NAME, *[PARENT] * 65),
        commit(TREE_NAME, author=b"A\0 <a@x> 1 +0000"),
    ],
)
def test_a_commit_with_another_form(content: bytes) -> None:
    with pytest.raises(Malformed):
        read_commit(content)


def test_a_tag() -> None:
    text = b"object " + b"1" * 40 + b"\ntype commit\ntag v1\n"
    assert read_tag(text + b"tagger A <t@x> 1 +0000\n\nm\n").tagger == "t@x"
    assert read_tag(text + b"\nm\n").tagger == ""
    with pytest.raises(Malformed):
        read_tag(text.replace(b"commit", b"thing"))


def test_what_would_be_kept_of_many_commits_is_short() -> None:
    long = WHO.replace(b"a@", b"a" * 1100 + b"@")
    with pytest.raises(Malformed, match="address"):
        read_commit(commit(TREE_NAME, author=long))
    assert read_commit(commit(TREE_NAME, more=b"x-y " + b"z" * 1000 + b"\n", text=b"m" * (2 << 20))).parents == ()
    with pytest.raises(Malformed, match="head"):
        read_commit(commit(TREE_NAME, more=b"x-y z\n" * 200_000))


def test_a_tree() -> None:
    found = read_tree(tree({b"a": (b"100644", TREE_NAME), b"d": (b"40000", PARENT)}))
    assert found[b"d"].is_directory and not found[b"a"].is_directory
    assert found[b"a"].identifier == TREE_NAME
    assert read_tree(b"") == {}


@pytest.mark.parametrize("name", [b"", b".", b"..", b".git", b".GIT", b"a/b"])
def test_names_that_no_tree_has(name: bytes) -> None:
    with pytest.raises(Malformed):
        read_tree(tree({name: (b"100644", TREE_NAME)}))


@pytest.mark.parametrize("content", [b"100644 a", b"100644 a\0" + b"1" * 19, b"a\0" + b"1" * 20, b"x y\0" + b"1" * 20])
def test_a_tree_with_another_form(content: bytes) -> None:
    with pytest.raises(Malformed):
        read_tree(content)


@pytest.mark.parametrize("mode", [b"0040000", b"1040000", b"4040000", b"00100644", b"0", b"40755", b"48000", b""])
def test_a_mode_that_git_reads_as_another_one(mode: bytes) -> None:
    """Git takes an octal number of any length, and of that the last 16 bits: a directory must not pass for a file."""
    with pytest.raises(Malformed):
        read_tree(tree({b".github": (mode, TREE_NAME)}))


def test_a_name_twice() -> None:
    with pytest.raises(Malformed):
        read_tree(tree({b"a": (b"100644", TREE_NAME)}) * 2)


def test_deltas() -> None:
    assert finished(apply_delta(b"hello", delta(b"hello", b" world"))) == b"hello world"
    assert finished(apply_delta(b"hello", b"\5\5\x91\0\5")) == b"hello"
    assert finished(apply_delta(bytes(70_000), b"\xf0\xa2\4\x80\x80\4\x80")) == bytes(65_536)


def test_a_long_delta_gives_way() -> None:
    """A hand-made one of some megabytes takes a second, and everybody else would wait for it."""
    made = 50_000
    long = number(0) + number(made) + b"\1x" * made
    assert sum(1 for _ in apply_delta(b"", long)) == made // INSTRUCTIONS_A_STEP


@pytest.mark.parametrize(
    "difference",
    [
        b"",
        b"\5",
        b"\4\1\1x",
        b"\5\2\1x",
        b"\5\1\2xy",
        b"\5\1\0",
        b"\5\5\x91\1\5",
        b"\5\5\x91",
        b"\5\1\2x",
        b"\x80" * 12,
    ],
)
def test_a_delta_with_another_form(difference: bytes) -> None:
    with pytest.raises(Malformed):
        finished(apply_delta(b"hello", difference))
