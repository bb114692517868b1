"""Signatures of instruction files: what ssh-keygen makes counts, and nothing else does."""

import base64
import subprocess
from pathlib import Path

import pytest

from ringfence.trust.signatures import is_signed

pytestmark = pytest.mark.require("ssh-keygen")
TEXT = b"Always be kind.\n"


def key(place: Path, name: str = "key", kind: str = "ed25519") -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "a person", "-f", place / name], check=True)
    return (place / f"{name}.pub").read_text().strip()


def sign(
    place: Path, content: bytes = TEXT, *, name: str = "key", namespace: str = "ringfence", hashed: str = "sha512"
) -> bytes:
    (place / "text").write_bytes(content)
    (place / "text.sig").unlink(missing_ok=True)
    words = ["ssh-keygen", "-q", "-Y", "sign", "-f", name, "-n", namespace, "-O", f"hashalg={hashed}", "text"]
    subprocess.run(words, cwd=place, check=True, stderr=subprocess.DEVNULL)
    return (place / "text.sig").read_bytes()


@pytest.mark.parametrize("hashed", ["sha256", "sha512"])
def test_what_a_named_key_has_signed_counts(tmp_path: Path, hashed: str) -> None:
    signer = key(tmp_path)
    assert is_signed(TEXT, sign(tmp_path, hashed=hashed), (signer,))
    assert is_signed(TEXT, sign(tmp_path), (key(tmp_path, "other"), signer.rsplit(" ", 2)[0]))


def test_another_text_another_key_and_another_purpose_do_not(tmp_path: Path) -> None:
    signer, other = key(tmp_path), key(tmp_path, "other")
    signature = sign(tmp_path)
    assert not is_signed(TEXT + b" ", signature, (signer,))
    assert not is_signed(TEXT, signature, (other,))
    assert not is_signed(TEXT, signature, ())
    assert not is_signed(TEXT, sign(tmp_path, namespace="git"), (signer,))


def test_a_key_of_another_kind_does_not(tmp_path: Path) -> None:
    signer = key(tmp_path, kind="ecdsa")
    assert not is_signed(TEXT, sign(tmp_path), (signer,))


def test_any_other_bit_does_not(tmp_path: Path) -> None:
    signer = key(tmp_path)
    lines = sign(tmp_path).decode().splitlines()
    blob = base64.b64decode("".join(lines[1:-1]))
    for position in range(len(blob)):
        changed = bytearray(blob)
        changed[position] ^= 1
        text = "\n".join([lines[0], base64.b64encode(changed).decode(), lines[-1]])
        assert not is_signed(TEXT, text.encode(), (signer,)), position


@pytest.mark.parametrize(
    "armoured", [b"", b"x", b"\xff", b"-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----", b"A" * 5000]
)
def test_what_is_no_signature_does_not(tmp_path: Path, armoured: bytes) -> None:
    assert not is_signed(TEXT, armoured, (key(tmp_path),))


def test_what_is_cut_short_or_goes_on_does_not(tmp_path: Path) -> None:
    signer = key(tmp_path)
    lines = sign(tmp_path).decode().splitlines()
    blob = base64.b64decode("".join(lines[1:-1]))
    for other in (*(blob[:end] for end in range(len(blob))), blob + b"\0", blob + b"\0\0\0\0"):
        text = "\n".join([lines[0], base64.b64encode(other).decode(), lines[-1]])
        assert not is_signed(TEXT, text.encode(), (signer,))
