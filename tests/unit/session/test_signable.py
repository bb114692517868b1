"""What may be signed: exactly one commit or tag as git writes it, and nothing that could mean something else."""

import pytest

from ringfence.session.signable import LIMIT_BYTES, Commit, Identity, Tag, read

TREE, PARENT, OTHER = "a" * 40, "b" * 40, "c" * 40
PERSON = "An Author <author@example.com> 1700000000 +0100"
COMMIT = f"tree {TREE}\nparent {PARENT}\nauthor {PERSON}\ncommitter {PERSON}\n\nSubject\n\nText\n"
TAG = f"object {TREE}\ntype commit\ntag v1.0\ntagger {PERSON}\n\nRelease\n"
MERGETAG = (
    f"mergetag object {OTHER}\n type commit\n tag v0\n tagger {PERSON}\n \n text\n -----BEGIN SSH SIGNATURE-----\n"
)


def test_a_commit() -> None:
    who = Identity("An Author", "author@example.com")
    assert read(COMMIT.encode()) == Commit(tree=TREE, parents=(PARENT,), author=who, committer=who, subject="Subject")


def test_a_tag() -> None:
    who = Identity("An Author", "author@example.com")
    assert read(TAG.encode()) == Tag(name="v1.0", target=TREE, type="commit", tagger=who, subject="Release")


@pytest.mark.parametrize(
    "text",
    [
        COMMIT.replace(f"parent {PARENT}\n", ""),
        COMMIT.replace(f"parent {PARENT}\n", f"parent {PARENT}\nparent {OTHER}\n"),
        COMMIT.replace("\n\nSubject", "\nencoding ISO-8859-1\n\nSubject"),
        COMMIT.replace("\n\nSubject", f"\n{MERGETAG}\nSubject"),
        COMMIT.replace("\n\nSubject\n\nText\n", "\n\n"),
        COMMIT.replace(TREE, "a" * 64).replace(PARENT, "b" * 64),
        COMMIT.replace("An Author <", " <"),
        COMMIT.replace("An Author", "J\u00f6rg"),
        TAG.replace("type commit", "type blob"),
        TAG.replace("v1.0", "release/v1.0-rc.1"),
    ],
)
def test_every_form_that_git_writes(text: str) -> None:
    assert isinstance(read(text.encode()), Commit | Tag)


def test_the_author_of_another_encoding_is_shown_as_far_as_it_can_be() -> None:
    found = read(COMMIT.encode().replace(b"An Author", b"J\xf6rg"))
    assert isinstance(found, Commit) and found.author.name == "J\ufffdrg"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "hello\n",
        "\x00\x00\x00\x20" + "x" * 32 + "2\n\n",  # the beginning of an SSH login challenge
        "SSHSIG\n\n",
        "Hash: SHA512\n\nmessage\n",
        COMMIT.replace("\n\n", "\n", 1).replace("\n\nText\n", ""),
        COMMIT.replace("Subject", "Sub\0ject"),
        COMMIT.replace(TREE, TREE.upper()),
        COMMIT.replace(TREE, TREE[:-1]),
        COMMIT.replace(TREE, "a" * 64),  # identifiers of two kinds
        COMMIT.replace(PARENT, TREE),
        COMMIT.replace(f"parent {PARENT}\n", f"parent {PARENT}\nparent {PARENT}\n"),
        COMMIT.replace("tree", "object", 1),
        COMMIT.replace(f"tree {TREE}\n", f"tree {TREE}\ntree {OTHER}\n"),
        COMMIT.replace("parent", "Parent"),
        COMMIT.replace(f"author {PERSON}\n", f"author {PERSON}\nauthor {PERSON}\n"),
        COMMIT.replace(f"author {PERSON}\n", ""),
        COMMIT.replace(f"committer {PERSON}\n", ""),
        COMMIT.replace(f"author {PERSON}\n", f"author {PERSON}\n continued\n"),
        COMMIT.replace("\n\nSubject", "\ngpgsig -----BEGIN SSH SIGNATURE-----\n x\n\nSubject"),
        COMMIT.replace("\n\nSubject", "\nencoding UTF-7\n\nSubject"),
        COMMIT.replace("\n\nSubject", "\nencoding utf-16\n\nSubject"),
        COMMIT.replace("\n\nSubject", "\nHG:extra source\n\nSubject"),
        COMMIT.replace("author@example.com>", "author@example.com"),
        COMMIT.replace("An Author <", "An <Author <"),
        COMMIT.replace("1700000000", "1e9"),
        COMMIT.replace("+0100", "Z"),
        TAG.replace("type commit", "type key"),
        TAG.replace("v1.0", "-v1.0"),
        TAG.replace("v1.0", "v1..0"),
        TAG.replace("v1.0", "v1 0"),
        TAG.replace("tag v1.0", "tag v1.0\ntag v2.0"),
        TAG.replace(f"tagger {PERSON}\n", ""),
        TAG + "-----BEGIN PGP SIGNATURE-----\n",
        COMMIT + "x" * LIMIT_BYTES,
    ],
)
def test_nothing_else(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(it|its|an?|what)\b"):
        read(text.encode())
