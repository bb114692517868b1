"""Whether the signature of a commit is good, and of somebody who counts: OpenSSH's (its PROTOCOL.sshsig), no other.

    commit = *header "gpgsig " armor LF *header LF text           each further line of the armor after a space
    armor  = "-----BEGIN SSH SIGNATURE-----" LF base64 "-----END SSH SIGNATURE-----"
    blob   = "SSHSIG" version key namespace reserved hash signature            version: 4 octets, 1; the others vectors
    signed = "SSHSIG" namespace reserved hash HASH( commit without that header )
    key, signature = algorithm, and vectors that it defines (RFC 4253, RFC 5656, RFC 8332, RFC 8709)

SECURITY: the key in a signature only says which of the signers it claims to be of: it is checked by the signer's own.
Of two signatures git takes both for one, others the first: a commit has one, or none that counts.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from ringfence.model.git import Signer

from .cursor import Cursor
from .malformed import Malformed

_SIGNED = re.compile(rb"\ngpgsig ([^\n]*(?:\n [^\n]*)*)")
_ARMOR = re.compile(rb"-----BEGIN SSH SIGNATURE-----\n([A-Za-z0-9+/=\n]+)\n-----END SSH SIGNATURE-----\n*")
_MAGIC, _NAMESPACE, _WHAT = b"SSHSIG", b"git", "signature"
_CURVES = {
    b"ecdsa-sha2-nistp256": hashes.SHA256(),
    b"ecdsa-sha2-nistp384": hashes.SHA384(),
    b"ecdsa-sha2-nistp521": hashes.SHA512(),
}
_RSA = {b"rsa-sha2-256": hashes.SHA256(), b"rsa-sha2-512": hashes.SHA512()}


def problem(commit: bytes, signers: Sequence[Signer], now: float) -> str:
    """Say why a well-formed commit is not signed by one of `signers`; empty where it is."""
    head, blank, text = commit.partition(b"\n\n")
    found = _SIGNED.search(head)
    if found is None or head.count(b"\ngpgsig") != 1:
        return "it is not signed" if b"\ngpgsig" not in head else "it has more than one signature"
    armor = _ARMOR.fullmatch(found[1].replace(b"\n ", b"\n"))
    if armor is None:
        return "its signature is not one of SSH, which alone can be checked"
    try:
        blob = base64.b64decode(armor[1].replace(b"\n", b""), validate=True)
        return _checked(blob, head[: found.start()] + head[found.end() :] + blank + text, signers, now)
    except (binascii.Error, Malformed):
        return "its signature is not well formed"


def _checked(blob: bytes, payload: bytes, signers: Sequence[Signer], now: float) -> str:
    cursor = Cursor(blob, _WHAT)
    if cursor.take(len(_MAGIC)) != _MAGIC or cursor.integer(4) != 1:
        raise Malformed("a signature of another version")
    key, namespace, reserved, algorithm, signature = (cursor.vector(4) for _ in range(5))
    cursor.finish()
    if namespace != _NAMESPACE:
        return "its signature is of another namespace than `git`"
    signer = next((one for one in signers if base64.b64decode(one.key.partition(" ")[2]) == key), None)
    if signer is None:
        shown = base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")
        return f"it is signed by a key that the rule does not name (SHA256:{shown})"
    if not signer.after <= now < (signer.before or now + 1):
        return "it is signed by a key that does not count at this time"
    if algorithm not in (b"sha256", b"sha512"):
        raise Malformed("a signature with another hash")
    digest = hashlib.new(algorithm.decode(), payload).digest()
    signed = _MAGIC + b"".join(len(part).to_bytes(4, "big") + part for part in (namespace, reserved, algorithm, digest))
    return "" if _is_good(signer.key.encode(), signature, signed) else "its signature is of something else"


def _is_good(line: bytes, signature: bytes, signed: bytes) -> bool:
    """Check a signature with a public key as OpenSSH writes it; raise `Malformed`."""
    cursor = Cursor(signature, _WHAT)
    kind, value = cursor.vector(4), cursor.vector(4)
    cursor.finish()
    try:
        match load_ssh_public_key(line):
            case Ed25519PublicKey() as edwards if kind == b"ssh-ed25519":
                edwards.verify(value, signed)
            case EllipticCurvePublicKey() as curve if kind in _CURVES and line.startswith(kind + b" "):
                curve.verify(_numbers(value), signed, ECDSA(_CURVES[kind]))
            case RSAPublicKey() as rsa if kind in _RSA:
                rsa.verify(value, signed, PKCS1v15(), _RSA[kind])
            case _:
                return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def _numbers(value: bytes) -> bytes:
    """Write the two numbers of a signature by an elliptic curve as X.509 has them."""
    cursor = Cursor(value, _WHAT)
    first, second = (int.from_bytes(cursor.vector(4), "big") for _ in range(2))
    cursor.finish()
    return encode_dss_signature(first, second)
