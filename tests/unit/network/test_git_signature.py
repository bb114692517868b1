"""Signatures of commits, byte by byte: no change of one leaves it good."""

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from ringfence.model.git import Signer
from ringfence.network.git_signature import problem
from tests.unit.network.packs import commit

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
LINE = KEY.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
SIGNERS = (Signer(LINE),)
NOW = 1e9


def vector(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def blob(payload: bytes, *, namespace: bytes = b"git", name: bytes = b"sha512", kind: bytes = b"ssh-ed25519") -> bytes:
    digest = hashlib.new("sha256" if name == b"sha256" else "sha512", payload).digest()
    made = KEY.sign(b"SSHSIG" + vector(namespace, b"", name, digest))
    public = base64.b64decode(LINE.split()[1])
    return b"SSHSIG\0\0\0\1" + vector(public, namespace, b"", name, vector(kind, made))


def signed(content: bytes, signature: bytes) -> bytes:
    text = base64.encodebytes(signature).replace(b"\n", b"\n ")
    header = b"\ngpgsig -----BEGIN SSH SIGNATURE-----\n " + text + b"-----END SSH SIGNATURE-----"
    head, blank, rest = content.partition(b"\n\n")
    return head + header + blank + rest


COMMIT = commit(b"\1" * 20)


@pytest.mark.parametrize("name", [b"sha256", b"sha512"])
def test_a_good_one(name: bytes) -> None:
    assert problem(signed(COMMIT, blob(COMMIT, name=name)), SIGNERS, NOW) == ""


def test_no_bit_of_it_may_be_another() -> None:
    good = blob(COMMIT)
    for number in range(len(good) * 8):
        changed = bytearray(good)
        changed[number // 8] ^= 1 << number % 8
        assert problem(signed(COMMIT, bytes(changed)), SIGNERS, NOW), number
    for more in (good[:-1], good + b"\0", b"", good[:6]):
        assert problem(signed(COMMIT, more), SIGNERS, NOW)


def test_nor_of_the_commit() -> None:
    whole = signed(COMMIT, blob(COMMIT))
    outside = [number for number in range(len(COMMIT)) if number != COMMIT.index(b"\n\n")]
    for number in outside:
        at = number if number < COMMIT.index(b"\n\n") else number + len(whole) - len(COMMIT)
        changed = bytearray(whole)
        changed[at] ^= 1
        assert problem(bytes(changed), SIGNERS, NOW), number


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"namespace": b"file"}, "of another namespace"),
        ({"namespace": b""}, "of another namespace"),
        ({"name": b"sha1"}, "not well formed"),
        ({"kind": b"ssh-rsa"}, "of something else"),
        ({"kind": b"rsa-sha2-512"}, "of something else"),
    ],
)
def test_another_meaning(more: dict[str, bytes], reason: str) -> None:
    assert reason in problem(signed(COMMIT, blob(COMMIT, **more)), SIGNERS, NOW)


@given(st.binary(max_size=300))
def test_whatever_stands_there_is_no_signature(data: bytes) -> None:
    for text in (data, b"SSHSIG\0\0\0\1" + data, blob(COMMIT)[: len(data)] + data):
        assert problem(signed(COMMIT, text), SIGNERS, NOW)
    assert problem(commit(b"\1" * 20, more=b"gpgsig " + data.replace(b"\n", b"\n ") + b"\n"), SIGNERS, NOW)


def test_nobody_counts_where_nobody_is_named() -> None:
    assert "a key that the rule does not name" in problem(signed(COMMIT, blob(COMMIT)), (), NOW)


def test_a_time_for_each_key() -> None:
    whole = signed(COMMIT, blob(COMMIT))
    assert problem(whole, (Signer(LINE, after=10**9, before=10**9 + 1),), NOW) == ""
    for signer in (Signer(LINE, after=10**9 + 1), Signer(LINE, before=10**9)):
        assert "does not count at this time" in problem(whole, (signer,), NOW)
