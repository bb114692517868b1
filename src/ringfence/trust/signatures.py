"""Detached signatures of instruction files, as `ssh-keygen -Y sign -n ringfence FILE` makes them; verified offline.

The format is OpenSSH's PROTOCOL.sshsig, version 1, with Ed25519 keys. A signature says that the holder of a key that
the operator's policy names has approved this very text. It does not say where or when: whoever has it may use the text,
and an older approved one, in any checkout.
"""

import base64
import binascii
import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

NAMESPACE = b"ringfence"
LIMIT_BYTES = 4096
_MAGIC = b"SSHSIG"
_KEY_TYPE = b"ssh-ed25519"
_HASHES = {b"sha256": hashlib.sha256, b"sha512": hashlib.sha512}
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"


def is_signed(content: bytes, armoured: bytes, signers: tuple[str, ...]) -> bool:
    """Whether one of `signers`, public keys as OpenSSH writes them, has signed `content`."""
    try:
        return _verified(
            content, _blob(armoured.decode("ascii")), {base64.b64decode(line.split()[1]) for line in signers}
        )
    except (ValueError, IndexError, binascii.Error, InvalidSignature):
        return False


def _blob(armoured: str) -> bytes:
    lines = armoured.strip().splitlines()
    if len(armoured) > LIMIT_BYTES or lines[0] != _BEGIN or lines[-1] != _END:
        raise ValueError("no armoured signature")
    return base64.b64decode("".join(lines[1:-1]), validate=True)


def _verified(content: bytes, blob: bytes, keys: set[bytes]) -> bool:
    """Take the blob apart, strictly; raise InvalidSignature or ValueError for what is not one of ours."""
    if blob[:6] != _MAGIC or blob[6:10] != b"\0\0\0\1":
        raise ValueError("no signature of version 1")
    key, namespace, reserved, algorithm, signature = _strings(blob[10:], 5)
    if key not in keys or namespace != NAMESPACE or algorithm not in _HASHES:
        return False
    (key_type, public), (signature_type, raw) = _strings(key, 2), _strings(signature, 2)
    if key_type != _KEY_TYPE or signature_type != _KEY_TYPE:
        return False
    fields = (namespace, reserved, algorithm, _HASHES[algorithm](content).digest())
    signed = _MAGIC + b"".join(len(field).to_bytes(4, "big") + field for field in fields)
    Ed25519PublicKey.from_public_bytes(public).verify(raw, signed)
    return True


def _strings(data: bytes, count: int) -> list[bytes]:
    """Exactly `count` strings, each with its length before it, and nothing else."""
    found = []
    while data:
        length = int.from_bytes(data[:4], "big")
        found.append(data[4 : 4 + length])
        if len(data) < 4 + length:
            raise ValueError("cut short")
        data = data[4 + length :]
    if len(found) != count:
        raise ValueError("not the fields expected")
    return found
