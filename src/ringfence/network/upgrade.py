"""From HTTP/1.1 to WebSocket (RFC 6455): the server must prove that it takes part, then bytes pass both ways.

SECURITY: after 101 nothing is looked into any more. A server that answers 101 without meaning it, or that goes on in
HTTP, would let a client say more than the one request that was decided on; so the answer must carry the digest of the
client's key (section 4.2.2), which only an implementation of WebSocket computes.
"""

import base64
import hashlib

from .http1 import Headers, listed, values

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # section 1.3


def accepted(request: Headers, response: Headers) -> bool:
    """Tell whether a 101 is the answer to the handshake in `request`; names in both are in lower case."""
    keys, proofs = values(request, b"sec-websocket-key"), values(response, b"sec-websocket-accept")
    if len(keys) != 1 or len(proofs) != 1 or listed(response, b"upgrade") != {b"websocket"}:
        return False
    digest = hashlib.sha1(keys[0] + _GUID, usedforsecurity=False).digest()
    return proofs[0] == base64.b64encode(digest)
