"""What the proxy itself asks a git server before it lets a push go on: refs, and commits to compare with.

Requests go to the very repository that is pushed to, with the client's own credentials (and through the vault, where
there is one), one after the other over one connection. Each is recorded as what it is: a request that left.

Commits are asked for in version 2 of the protocol (gitprotocol-v2(5)), which gives what is named whether or not a ref
points to it; of a server that lacks it, in the first (gitprotocol-pack(5)). There git itself gives over HTTP all that
its refs lead to, and others perhaps only what a ref points to. A push that takes asking for more is not judged.
"""

import asyncio
from collections.abc import Callable, Sequence

import h11
import msgspec

from . import heads, tls
from .body import Incoming
from .exchange import Asked
from .git_advertisement import MAX_ADVERTISEMENT, read_features
from .git_endpoints import RECEIVE_PACK, UPLOAD_PACK
from .git_pack import Pack
from .git_packets import Mark, Packets, packet_line
from .git_push import Store, Uninspectable
from .http1 import forwarded_headers, listed, response_headers, response_length
from .session import Connection, Refusal, Session
from .spool import SpoolFile
from .stream import Stream

MAX_TIPS = 2000  # of the server's, told it as what we have
MAX_FETCHED = 1 << 30  # of commits and trees to compare with
REQUEST_TIMEOUT_S = 300.0
_OWN = frozenset({b"host", b"accept", b"accept-encoding", b"content-encoding", b"content-length", b"content-type"})
_NOT_TAKEN = _OWN | {b"transfer-encoding", b"expect", b"git-protocol", b"trailer", b"range"}
_ENDING: set[asyncio.Task[None]] = set()  # the loop itself holds tasks weakly
_VERSION_2 = ((b"git-protocol", b"version=2"),)
_BEFORE_THE_PACK = (b"packfile\n", b"NAK\n")


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of a short answer; `headers` are fit to go inside."""

    status: int
    phrase: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Upstream:
    """The server's end of a push; `root` is the repository's path."""

    def __init__(self, session: Session, connection: Connection, asked: Asked, root: str) -> None:
        self._session = session
        self._connection = connection
        self._asked = asked
        self._root = root
        self._stream: Stream | None = None
        self._spool: SpoolFile | None = None
        self._features: dict[str, str] | None = None

    async def refs(self) -> Answer:
        """Ask for the refs, as a client does before a push; raise Uninspectable where there is no answer."""
        return await self._whole(f"{self._root}/info/refs?service={RECEIVE_PACK}")

    async def holds(self, tips: Sequence[str], wanted: Sequence[str]) -> bool:
        """Tell whether `tips` lead to all of `wanted`: for who has the ones and wants the others, a pack is empty."""
        lines = [*(f"want {name}" for name in wanted), *(f"have {name}" for name in tips[:MAX_TIPS])]
        if "filter" in await self._features_of_fetch():
            lines.append("filter blob:none")
        head = bytearray()
        try:
            await self._fetch(lines, lambda data: head.extend(data[: 12 - len(head)]))
        except Uninspectable:
            if self._is_first_version:
                raise  # it may have all of them, and not say so
            return False  # it does not have one of them
        return head[:4] == b"PACK" and head[8:] == bytes(4)

    async def snapshots(self, commits: Sequence[str]) -> Store:
        """Fetch these commits with their trees, and with files too from a server that cannot leave them out."""
        features = await self._features_of_fetch()
        lines = [*(f"want {name}" for name in commits), "deepen 1"]
        if "shallow" not in features:
            raise Uninspectable("the server does not give single commits to compare with")
        if "filter" in features:
            lines.append("filter blob:none")
        spool = self._spool = await self._session.spools.take()
        pack = Pack(trees=True)

        def take(data: bytes) -> None:
            if spool.size + len(data) > MAX_FETCHED:
                raise Uninspectable("the commits to compare with are too large")
            spool.write(data)
            pack.feed(data)

        await self._fetch(lines, take)
        pack.finish()
        return Store(pack, spool.read)

    async def close(self) -> None:
        """Give back what was taken."""
        if self._stream is not None:
            ending = asyncio.create_task(self._stream.close())  # nobody waits until its other side has ended too
            _ENDING.add(ending)
            ending.add_done_callback(_ENDING.discard)
        if self._spool is not None:
            await self._session.spools.give(self._spool)

    # ---- versions of the protocol

    @property
    def _is_first_version(self) -> bool:
        return self._features is not None and "" in self._features

    async def _features_of_fetch(self) -> list[str]:
        if self._features is None:
            answer = await self._whole(f"{self._root}/info/refs?service={UPLOAD_PACK}", version_2=True)
            self._features = read_features(answer.body) if answer.status == 200 else {}
        first = self._features.get("", "").split(" ")
        if "fetch" not in self._features and "side-band-64k" not in first:
            raise Uninspectable("the server cannot be asked for commits: it does not serve fetches as git does")
        return first if self._is_first_version else self._features["fetch"].split(" ")

    async def _fetch(self, lines: Sequence[str], take: Callable[[bytes], object]) -> None:
        """Have `take` the pack of an answer to `fetch` as it arrives; raise Uninspectable where there is none."""
        packets = _PackOnly(take)
        await self._post(f"{self._root}/{UPLOAD_PACK}", self._question(lines), packets.feed)
        if not packets.ended:
            raise Uninspectable("the server's answer ended early")

    def _question(self, lines: Sequence[str]) -> bytes:
        """Give the body of a fetch: `want`s before all others."""
        if self._is_first_version:
            words = ("side-band-64k", "ofs-delta", "no-progress", *(("filter",) if "filter blob:none" in lines else ()))
            asked = [line for line in lines if not line.startswith("have ")]
            asked[0] = " ".join((asked[0], *words))
            return _lines(asked) + b"0000" + _lines([*(line for line in lines if line.startswith("have ")), "done"])
        format_known = self._features is not None and "object-format" in self._features
        command = ("command=fetch", *(("object-format=sha1",) if format_known else ()))
        return _lines(command) + b"0001" + _lines(("ofs-delta", "no-progress", *lines, "done")) + b"0000"

    # ---- HTTP

    async def _whole(self, target: str, *, version_2: bool = False) -> Answer:
        """Give the answer to a GET."""
        body = bytearray()

        def take(data: bytes) -> None:
            body.extend(data)
            if len(body) > MAX_ADVERTISEMENT:
                raise Uninspectable("the server's answer is too long")

        response = await self._exchanged(b"GET", target, _VERSION_2 if version_2 else (), take)
        headers = response_headers(list(response.headers))
        return Answer(status=response.status_code, phrase=bytes(response.reason), headers=headers, body=bytes(body))

    async def _post(self, target: str, body: bytes, take: Callable[[bytes], object]) -> None:
        kind = f"application/x-{UPLOAD_PACK}-request".encode()
        version = () if self._is_first_version else _VERSION_2
        fields = (*version, (b"content-type", kind), (b"content-length", b"%d" % len(body)))
        response = await self._exchanged(b"POST", target, fields, take, body=body)
        if response.status_code != 200:
            raise Uninspectable(f"the server answers {response.status_code} when asked for commits")

    async def _exchanged(
        self,
        method: bytes,
        target: str,
        fields: Sequence[tuple[bytes, bytes]],
        take: Callable[[bytes], object],
        *,
        body: bytes = b"",
    ) -> h11.Response:
        """Carry one request out; `take` gets the body of the answer."""
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                response, incoming = await self._ask(method, target, fields, body)
                while data := await incoming.read():
                    if (refusal := self._session.spend(self._connection, len(data))) is not None:
                        raise Uninspectable(refusal.reason)
                    take(data)
                    await asyncio.sleep(0)
        except (OSError, h11.RemoteProtocolError) as error:
            raise Uninspectable("the server does not answer") from error
        self._record(method, target, response)
        return response

    async def _ask(
        self, method: bytes, target: str, fields: Sequence[tuple[bytes, bytes]], body: bytes
    ) -> tuple[h11.Response, Incoming]:
        """Send one request, and read the head of its answer."""
        own = [(b"accept", b"*/*"), (b"accept-encoding", b"identity"), *fields]
        kept = forwarded_headers(self._asked.head.headers, authority=self._asked.target.authority)
        headers = [kept[0], *(field for field in kept if field[0] not in _NOT_TAKEN), *own]
        parser = heads.parser(h11.CLIENT)
        start = parser.send(h11.Request(method=method, target=target.encode("ascii"), headers=headers)) or b""
        start += (parser.send(h11.Data(data=body)) or b"") if body else b""
        start += parser.send(h11.EndOfMessage()) or b""
        if (refusal := self._session.spend(self._connection, len(start))) is not None:
            raise Uninspectable(refusal.reason)
        stream = await self._connected()
        await stream.write(start)
        while not isinstance(response := await heads.read_response(stream, parser), h11.Response):
            pass
        length = response_length(method, response.status_code, list(response.headers))
        if listed(list(response.headers), b"content-encoding") - {b"identity"}:
            raise Uninspectable("the server's answer is compressed, though that was not asked for")
        return response, Incoming(stream, parser, length)

    async def _connected(self) -> Stream:
        if self._stream is not None:
            if self._stream.is_at_rest():
                return self._stream
            self._stream.abort()
        connected = await tls.connect(self._session, self._connection)
        if isinstance(connected, Refusal):
            raise Uninspectable(connected.reason)
        self._stream = connected
        return connected

    def _record(self, method: bytes, target: str, response: h11.Response) -> None:
        fields = self._session.fields(self._connection) | {
            "method": method.decode(),
            "path": target.partition("?")[0],
            "status": response.status_code,
            "purpose": "to judge a push",
        }
        self._session.record("egress", "", self._connection, fields)


def _lines(lines: Sequence[str]) -> bytes:
    return b"".join(packet_line(f"{line}\n".encode()) for line in lines)


class _PackOnly:
    """What of an answer to `fetch` is the pack: band 1 of the section `packfile`, or of what follows `NAK` or `ACK`."""

    def __init__(self, take: Callable[[bytes], object]) -> None:
        self.ended = False
        self._take = take
        self._packets = Packets()
        self._begun = False

    def feed(self, data: bytes) -> None:
        """Take further bytes; raise Uninspectable for an error that the server tells, Malformed for what it is not."""
        self._packets.feed(data)
        while (packet := self._packets.take()) is not None:
            if not isinstance(packet, bytes):
                self.ended = self.ended or (packet is Mark.FLUSH and self._begun)
            elif self._begun and packet[:1] == b"\x01" and not self.ended:
                self._take(packet[1:])
            elif packet.startswith(b"ERR ") or (self._begun and packet[:1] == b"\x03"):
                told = packet.removeprefix(b"ERR ").lstrip(b"\x03").decode("utf-8", "replace").strip()
                raise Uninspectable(f"the server says: {told}")
            else:
                self._begun = self._begun or packet in _BEFORE_THE_PACK or packet.startswith(b"ACK ")
