"""AWS Signature Version 4: a signature made with placeholders is checked, and made anew with the keys.

The rules are those of "Signing AWS API requests" (AWS IAM User Guide): a canonical request (method, path, query, the
signed fields, the hash of the payload) is hashed and signed with a key derived from date, region and service. The
signature stands in `authorization`, or in the query of a presigned URL.

Theory of operation. What the client signed is rebuilt from the request as it arrived and signed with the placeholder;
if that is not the client's signature, the request is not what a client with the placeholder has asked for, and nothing
is signed. Clients differ in whether the path is encoded once more (S3: no, others: yes) and the query is written anew;
the way that gave the client's signature is the way the new one is made.
SECURITY: host, method, path and query are those that were judged, so a signature cannot be had for another request.

A payload whose hash is in `x-amz-content-sha256`, or `UNSIGNED-PAYLOAD`, or unsigned chunks with a trailer, is signed
by that field alone. Chunks that carry signatures of their own (`STREAMING-AWS4-HMAC-SHA256-...`) are refused.
"""

import hashlib
import hmac
import re
from collections.abc import Iterator, Sequence
from urllib.parse import quote, unquote_to_bytes

import msgspec

from ringfence.model.passage import Headers, Outgoing

ALGORITHM = b"AWS4-HMAC-SHA256"
UNSIGNED = b"UNSIGNED-PAYLOAD"
_UNSIGNED_CHUNKS = b"STREAMING-UNSIGNED-PAYLOAD-TRAILER"
_AUTHORIZATION = re.compile(
    rb"AWS4-HMAC-SHA256 +Credential=([^/,\s]+)/([0-9]{8}/[^/,\s]+/[^/,\s]+/aws4_request) *, *"
    rb"SignedHeaders=([a-z0-9;_.-]+) *, *Signature=([0-9a-f]{64})"
)
_SCOPE = re.compile(rb"([^/]+)/([0-9]{8}/[^/]+/[^/]+/aws4_request)")
_DATE = re.compile(rb"[0-9]{8}T[0-9]{6}Z")
_SPACES = re.compile(rb"[ \t]+")


class Keys(msgspec.Struct, frozen=True):
    """The identifier of an access key and the secret access key, or what stands for both inside."""

    identifier: bytes
    secret: bytes

    def __repr__(self) -> str:
        return "Keys(...)"


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What a request says of its signature; `presigned` where it stands in the query."""

    identifier: bytes
    scope: bytes
    fields: tuple[bytes, ...]
    signature: bytes
    date: bytes
    presigned: bool


def claim(request: Outgoing) -> Claim | None:
    """Read what `request` says of its signature; None where it has none that is well formed."""
    authorization = _values(request.headers, b"authorization")
    said = dict(_pairs(request.target.partition(b"?")[2]))
    date = b"".join(_values(request.headers, b"x-amz-date")[:1])
    if said.get(b"X-Amz-Algorithm") == ALGORITHM and not authorization:
        scope = _SCOPE.fullmatch(unquote_to_bytes(said.get(b"X-Amz-Credential", b"")))
        names = unquote_to_bytes(said.get(b"X-Amz-SignedHeaders", b""))
        signature, date = said.get(b"X-Amz-Signature", b""), said.get(b"X-Amz-Date", b"")
        presigned = True
    else:
        found = _AUTHORIZATION.fullmatch(authorization[0]) if len(authorization) == 1 else None
        if found is None:
            return None
        scope = _SCOPE.fullmatch(found[1] + b"/" + found[2])
        names, signature, presigned = found[3], found[4], False
    if scope is None or not _DATE.fullmatch(date) or not scope[2].startswith(date[:8]):
        return None
    fields = tuple(names.split(b";"))
    return Claim(
        identifier=scope[1], scope=scope[2], fields=fields, signature=signature, date=date, presigned=presigned
    )


def payload_problem(request: Outgoing) -> str:
    """Say why a request's payload cannot be signed anew, or nothing."""
    stated = b"".join(_values(request.headers, b"x-amz-content-sha256"))
    if stated.startswith(b"STREAMING-") and stated != _UNSIGNED_CHUNKS:
        return "its chunks are signed one by one, which cannot be done anew; let the client sign the payload as a whole"
    return ""


def needs_body(request: Outgoing, told: Claim) -> bool:
    """Tell whether the hash of the body, which no field states, is a part of what is signed."""
    return not _values(request.headers, b"x-amz-content-sha256") and not (
        told.presigned and b"/s3/" in told.scope + b"/"
    )


def signed_anew(
    request: Outgoing, final: Outgoing, told: Claim, keys: tuple[Keys, Keys], *, body: bytes
) -> Outgoing | None:
    """Return `final`, which is `request` as it shall go upstream, signed; None where `request` was not well signed.

    `keys` are the placeholders and the true ones; `body` is empty where `needs_body` says no.
    """
    stand_in, true = keys
    payload = _payload(request, told, body)
    if not hmac.compare_digest(told.identifier, stand_in.identifier) or b"host" not in told.fields:
        return None
    for written in range(len(_WAYS)):
        expected = _signature(request, told, told.fields, secret=stand_in.secret, payload=payload, written=written)
        if hmac.compare_digest(expected, told.signature):
            return _sign(final, told, true, payload=payload, written=written)
    return None


def _sign(request: Outgoing, told: Claim, keys: Keys, *, payload: bytes, written: int) -> Outgoing:
    present = {name for name, _ in request.headers}
    fields = tuple(name for name in told.fields if name in present)
    if told.presigned:
        path, _, query = request.target.partition(b"?")
        changed = {
            b"X-Amz-Credential": quote(keys.identifier + b"/" + told.scope, safe="").encode(),
            b"X-Amz-SignedHeaders": quote(b";".join(fields), safe="").encode(),
        }
        kept = [(name, changed.get(name, value)) for name, value in _pairs(query) if name != b"X-Amz-Signature"]
        unsigned = msgspec.structs.replace(request, target=path + b"?" + _query(kept))
        signature = _signature(unsigned, told, fields, secret=keys.secret, payload=payload, written=written)
        return msgspec.structs.replace(unsigned, target=unsigned.target + b"&X-Amz-Signature=" + signature)
    signature = _signature(request, told, fields, secret=keys.secret, payload=payload, written=written)
    line = b"%b Credential=%b/%b, SignedHeaders=%b, Signature=%b" % (
        (ALGORITHM, keys.identifier, told.scope, b";".join(fields), signature)
    )
    headers = [(name, line if name == b"authorization" else value) for name, value in request.headers]
    return msgspec.structs.replace(request, headers=headers)


def _signature(
    request: Outgoing, told: Claim, fields: Sequence[bytes], *, secret: bytes, payload: bytes, written: int
) -> bytes:
    canonical = _canonical(request, fields, payload, written)
    text = b"\n".join((ALGORITHM, told.date, told.scope, hashlib.sha256(canonical).hexdigest().encode()))
    key = b"AWS4" + secret
    for part in told.scope.split(b"/"):
        key = hmac.digest(key, part, "sha256")
    return hmac.digest(key, text, "sha256").hex().encode()


def _canonical(request: Outgoing, fields: Sequence[bytes], payload: bytes, written: int) -> bytes:
    path, _, query = request.target.partition(b"?")
    encode_path, encode_query = _WAYS[written]
    pairs = [(name, value) for name, value in _pairs(query) if name != b"X-Amz-Signature"]
    if encode_query:
        pairs = [(_once(name), _once(value)) for name, value in pairs]
    lines = [name + b":" + b",".join(map(_trimmed, _values(request.headers, name))) + b"\n" for name in fields]
    return b"\n".join(
        (
            request.method,
            encode_path(path),
            b"&".join(name + b"=" + value for name, value in sorted(pairs)),
            b"".join(lines),
            b";".join(fields),
            payload,
        )
    )


def _payload(request: Outgoing, told: Claim, body: bytes) -> bytes:
    stated = _values(request.headers, b"x-amz-content-sha256")
    if stated:
        return b",".join(stated)
    return hashlib.sha256(body).hexdigest().encode() if needs_body(request, told) else UNSIGNED


def _as_sent(path: bytes) -> bytes:
    return path


def _twice(path: bytes) -> bytes:
    return quote(path, safe="/~").encode()


def _encoded(path: bytes) -> bytes:
    return quote(unquote_to_bytes(path), safe="/~").encode()


def _encoded_twice(path: bytes) -> bytes:
    return _twice(_encoded(path))


def _once(text: bytes) -> bytes:
    return quote(unquote_to_bytes(text), safe="~").encode()


_WAYS = tuple((path, query) for query in (False, True) for path in (_as_sent, _twice, _encoded, _encoded_twice))


def _trimmed(value: bytes) -> bytes:
    return _SPACES.sub(b" ", value.strip(b" \t"))


def _pairs(query: bytes) -> Iterator[tuple[bytes, bytes]]:
    for pair in query.split(b"&") if query else ():
        name, _, value = pair.partition(b"=")
        yield name, value


def _query(pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
    return b"&".join(name + b"=" + value for name, value in pairs)


def _values(headers: Headers, name: bytes) -> list[bytes]:
    return [value for found, value in headers if found == name]
