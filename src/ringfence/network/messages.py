"""What the proxy (confined, parses hostile input) and the supervisor say to each other, one message a packet.

The pair of sockets is SOCK_SEQPACKET; a message is JSON with its type in `type`. A connected socket travels as
SCM_RIGHTS with `Dialed`, the listening ones with `Serve`. `connection` numbers are the proxy's, unique in a session.

SECURITY: the supervisor believes nothing that the proxy says about policy: a `Dial` is decided anew.
"""

import msgspec

from ringfence.model.egress import Egress

PACKET_BYTES = 64 << 10
"""No message is longer; whoever has more to say truncates."""

MAX_SPOOLS = 4


class Serve(msgspec.Struct, frozen=True, kw_only=True, tag="serve"):
    """Supervisor -> proxy, once: the rules and the listening sockets, in the order of `sockets`.

    Each socket is `tcp` (captured connections), `dns-udp`, `dns-tcp`, `proxy` (HTTP CONNECT, absolute-form and
    SOCKS5 clients), or `gateway` (unix sockets, in the order of `egress.gateways`). `password` is `user:password` that
    explicit clients must give, empty where none is asked for.
    """

    egress: Egress
    sockets: tuple[str, ...]
    password: str = ""


class Replace(msgspec.Struct, frozen=True, kw_only=True, tag="replace"):
    """Supervisor -> proxy: other rules from now on; connections that they no longer allow are closed.

    `sockets` are the kinds of further listening sockets that come along, as in `Serve`.
    """

    egress: Egress
    sockets: tuple[str, ...] = ()


class Authority(msgspec.Struct, frozen=True, kw_only=True, tag="authority"):
    """Proxy -> supervisor, once: the session's CA certificate (PEM); its key never leaves the proxy."""

    certificate: str


class Accepted(msgspec.Struct, frozen=True, kw_only=True, tag="accepted"):
    """Proxy -> supervisor: a client connected; the supervisor finds out which process it is.

    That of a unix socket has no address, but a pid, which stands in the port's place.
    """

    connection: int
    client: tuple[str, int]
    local: tuple[str, int]


class Named(msgspec.Struct, frozen=True, kw_only=True, tag="named"):
    """Proxy -> supervisor: what a synthetic address stands for, so that records name it."""

    address: str
    host: str


class Dial(msgspec.Struct, frozen=True, kw_only=True, tag="dial"):
    """Proxy -> supervisor: connect to `host` (canonical) on `port`. Answered by `Dialed` with the same `request`.

    `scheme` is `http` or `https` where every request will be read here and sent in HTTP/1.1, so that the vault can be
    put between; empty for HTTP/2 and for bytes that pass unseen.
    """

    request: int
    connection: int
    host: str
    port: int
    scheme: str = ""


class Dialed(msgspec.Struct, frozen=True, kw_only=True, tag="dialed"):
    """Supervisor -> proxy: the connected socket comes along, or `code` and `reason` say why there is none.

    `carried`: it leads to the host through the vault, which makes TLS with the host: HTTP in the clear is spoken to it.
    Codes: `egress-denied` (policy), `address-denied` (every address is special), `not-found` (no such name),
    `unreachable`, `timed-out`, `busy`.
    """

    request: int
    code: str = ""
    reason: str = ""
    address: str = ""
    carried: bool = False


class Marked(msgspec.Struct, frozen=True, kw_only=True, tag="marked"):
    """Supervisor -> proxy: the placeholders of the run's secrets, by name; all of them, each time."""

    placeholders: dict[str, str]


class Ask(msgspec.Struct, frozen=True, kw_only=True, tag="ask"):
    """Proxy -> supervisor: policy says ASK. Answered by `Answer`; asked once per host, port, method and path."""

    request: int
    connection: int
    host: str
    port: int
    method: str = ""
    path: str = ""


class Answer(msgspec.Struct, frozen=True, kw_only=True, tag="answer"):
    """Supervisor -> proxy: whether it may go on; `reason` is for the contained side."""

    request: int
    allowed: bool
    reason: str = ""


class Spool(msgspec.Struct, frozen=True, kw_only=True, tag="spool"):
    """Proxy -> supervisor: a file without a name, for what must be seen whole. Answered by `Dialed`, as for `Dial`.

    There are at most `MAX_SPOOLS` in a session.
    """

    request: int


class Record(msgspec.Struct, frozen=True, kw_only=True, tag="record"):
    """Proxy -> supervisor: an event for the audit (model/event.py); `connection` 0 where there is none (names)."""

    kind: str
    code: str
    connection: int
    fields: dict[str, str | int | bool | None]


FromProxy = Authority | Accepted | Named | Dial | Ask | Spool | Record
ToProxy = Serve | Replace | Marked | Dialed | Answer

encode = msgspec.json.encode
from_proxy = msgspec.json.Decoder(FromProxy)
to_proxy = msgspec.json.Decoder(ToProxy)
