"""What of an HTTP exchange is judged on its way: heads, and the answers of those who judge.

Heads are canonical: methods in upper case, targets in origin-form, header names in lower case, one meaning each. The
HTTP hop (network/hop.py) and the keeper of secrets (secrets/) know each other by these alone.
"""

from collections.abc import Sequence

import msgspec

Headers = Sequence[tuple[bytes, bytes]]
WHOLE_BYTES = 8 << 20
"""How long the body of a message may be that is judged in one piece."""


class Destination(msgspec.Struct, frozen=True):
    """Whom a request is to: `scheme` is `http` or `https`, `host` canonical; of `https` the certificate is verified."""

    scheme: str
    host: str
    port: int


class Outgoing(msgspec.Struct, frozen=True):
    """The head of a request, as it goes upstream."""

    method: bytes
    target: bytes
    headers: Headers


class Incoming(msgspec.Struct, frozen=True):
    """The head of an answer, as it goes inside. `transformed`: its body's length may change, so it is framed anew."""

    status: int
    headers: Headers
    transformed: bool = False


class Stopped(msgspec.Struct, frozen=True):
    """A request or an answer that does not pass: a short code, the reason for the operator, the secret's name."""

    code: str
    reason: str
    secret: str = ""


class Doubt(msgspec.Struct, frozen=True):
    """Policy says ASK about what was found; with the operator's yes the same is asked once more as settled."""

    code: str
    reason: str
    secret: str = ""


class Noted(msgspec.Struct, frozen=True):
    """Something for the record that stops nothing: `injected`, `scrubbed`, `captured`, `leak-allowed`."""

    code: str
    secret: str = ""
    detail: str = ""
