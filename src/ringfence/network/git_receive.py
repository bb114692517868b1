"""A push as it is received: commands into memory, the pack into a spool, a verdict, and only then the server.

The pack is followed while it arrives, and read again from the spool once the verdict is there. What the client was
offered (git_advertisement.py) makes packs that can be judged. Before a refusal is said, the rest of the body is read,
however long: git listens only when it has said everything.
"""

from collections.abc import Iterator

from ringfence.model.git import GitRemote, Pushes
from ringfence.policy.git import refused_changes

from .denial import Denial
from .exchange import Asked
from .git_advertisement import Advertisement, read_advertisement
from .git_endpoints import RECEIVE_PACK, Endpoint
from .git_pack import Pack
from .git_packets import Asking, Commands, report
from .git_push import Store, Uninspectable, judge, needs_inspection, patiently, stale
from .git_upstream import Answer, Upstream
from .held import Held, go_on, held, require_plain
from .malformed import Malformed
from .session import Connection, Fields, Refusal, Session
from .spool import SpoolFile
from .stream import Stream

FED = 32 << 10  # of a pack, between turns of others
RESULT = f"application/x-{RECEIVE_PACK}-result"
MAX_REFS_TOLD = 16
_FRAMING = (b"content-length", b"transfer-encoding", b"trailer")  # of an answer that goes on as a whole

Reasons = dict[str, str]
"""Why refs may not be changed; empty where all may."""


class Receiving:
    """One push."""

    def __init__(
        self, client: Stream, session: Session, connection: Connection, *, asked: Asked, found: Endpoint
    ) -> None:
        self._client = client
        self._session = session
        self._connection = connection
        self._asked = asked
        self._found = found

    async def admit(self, rules: tuple[tuple[GitRemote, Pushes], ...]) -> Asked | Denial | Refusal:
        """Give the push as it may go on, or what is answered; `rules` are those of its repository, one at least.

        One rule must allow all of it: the first that allows its refs decides. Raises `Malformed`.
        """
        require_plain(self._asked)
        await go_on(self._client, self._asked)
        asking, rest = await self._commands()
        if not asking.changes:
            return await self._probe(asking, rest)
        refused = [refused_changes(pushes, asking.changes) for _, pushes in rules]
        number = next((number for number, reasons in enumerate(refused) if not reasons), 0)
        remote, pushes = rules[number]
        async with self._session.spools.turn:
            verdict = refused[number] or await self._judged(asking, pushes, rest)
        if isinstance(verdict, Held):
            self._record(asking, remote, "")
            return held(self._asked, verdict)
        while await self._asked.body.read():
            pass
        return verdict if isinstance(verdict, Denial) else self._refuse(asking, remote, verdict)

    async def _commands(self) -> tuple[Asking, bytes]:
        commands = Commands()
        while data := await self._asked.body.read():
            if (asking := commands.feed(data)) is not None:
                return asking, commands.rest()
        raise Malformed("a push that ends before its commands do")

    async def _probe(self, asking: Asking, rest: bytes) -> Asked:
        """A push of nothing: how git asks whether its credentials are taken, before it sends much."""
        if rest or await self._asked.body.read() or asking.head != b"0000":
            raise Malformed("a push without commands")
        return held(self._asked, Held(asking.head))

    async def _judged(self, asking: Asking, pushes: Pushes, rest: bytes) -> Held | Denial | Reasons:
        """Take the pack in and decide; give the body to send, what the server said to a question, or reasons."""
        upstream = Upstream(self._session, self._connection, self._asked, self._found.root)
        spool: SpoolFile | None = None
        verdict: Held | Denial | Reasons = {}
        try:
            spool = await self._session.spools.take()
            pack = _Pack(asking, pushes, spool)
            verdict = await self._decided(asking, pushes, pack, upstream=upstream, rest=rest) or Held(
                asking.head, spool
            )
        except Malformed as error:
            verdict = _each(asking, f"cannot be inspected: {error.reason}")
        finally:
            await upstream.close()
            if spool is not None and not isinstance(verdict, Held):
                await self._session.spools.give(spool)
        return verdict

    async def _decided(
        self, asking: Asking, pushes: Pushes, pack: "_Pack", *, upstream: Upstream, rest: bytes
    ) -> Denial | Reasons:
        tips: frozenset[str] | None = None
        if pack.inspected:
            advertisement = advertised(await upstream.refs())
            if isinstance(advertisement, Denial):
                return advertisement
            if changed := stale(asking.changes, advertisement.refs):
                return changed
            tips = advertisement.tips
        data = rest
        while data or (data := await self._asked.body.read()):
            if reason := await pack.take(data):
                return _each(asking, reason)
            data = b""
        if tips is None:
            return {}
        return await judge(pushes, asking.changes, pack.finished(), tips=tips, server=upstream)

    def _refuse(self, asking: Asking, remote: GitRemote, reasons: Reasons) -> Denial | Refusal:
        """Answer as a server that has changed nothing; each ref's reason is told, and the first is recorded."""
        ref, reason = next(iter(reasons.items()))
        told, repository = f"{ref}: {reason}", self._found.repository
        refusal = self._session.refuse(
            self._connection, "push-denied", told, repository=repository, ref=ref, rule=_rule(remote)
        )
        self._record(asking, remote, refusal.reason)
        body = report(asking, reasons)
        return own_answer(RESULT, body, refusal.code) if body else refusal

    def _record(self, asking: Asking, remote: GitRemote, reason: str) -> None:
        refs = [f"{change.ref} {change.old or '-'} {change.new or '-'}" for change in asking.changes]
        more = f", and {len(refs) - MAX_REFS_TOLD} more" if len(refs) > MAX_REFS_TOLD else ""
        fields: Fields = {
            "target": self._connection.target,
            "repository": self._found.repository,
            "refs": ", ".join(refs[:MAX_REFS_TOLD]) + more,
            "verdict": "deny" if reason else "allow",
            "reason": reason,
            "rule": _rule(remote),
        }
        self._session.record("push", "push-denied" if reason else "", self._connection, fields)


class _Pack:
    """What is taken in of a push: followed where it is `inspected`, and kept."""

    def __init__(self, asking: Asking, pushes: Pushes, spool: SpoolFile) -> None:
        self.inspected = needs_inspection(pushes, asking.changes)
        self._expected = asking.sends_pack
        self._limit = pushes.max_bytes
        self._spool = spool
        self._pack = Pack(trees=bool(pushes.deny_paths))

    async def take(self, data: bytes) -> str:
        """Take further bytes; say why they are not taken, if they are not."""
        if not self._expected:
            return "a pack follows, though nothing but deleting is asked for"
        if 0 < self._limit < self._spool.size + len(data):
            return f"larger than {self._limit:,} bytes"
        try:
            self._spool.write(data)
        except OSError as error:
            raise Uninspectable(f"there is no room to keep it meanwhile: {error.strerror}") from error
        if self.inspected:
            await patiently(self._follow(data), each=1)
        return ""

    def finished(self) -> Store:
        """Give the whole; raise `Malformed` where it is not."""
        self._pack.finish()
        return Store(self._pack, self._spool.read)

    def _follow(self, data: bytes) -> Iterator[None]:
        for at in range(0, len(data), FED):
            self._pack.feed(data[at : at + FED])
            yield


def advertised(answer: Answer) -> Advertisement | Denial:
    """Read what a server says before a push; where it says something else (who are you?), that is the answer."""
    if answer.status == 200:
        return read_advertisement(answer.body)
    headers = [field for field in answer.headers if field[0] not in _FRAMING]
    headers.append((b"Content-Length", b"%d" % len(answer.body)))
    return Denial(status=answer.status, phrase=answer.phrase, headers=tuple(headers), body=answer.body)


def own_answer(kind: str, body: bytes, code: str = "") -> Denial:
    """Give an answer that git reads; `code` where it is a refusal."""
    headers = [(b"Content-Type", kind.encode()), (b"Cache-Control", b"no-cache")]
    headers += [(b"X-Ringfence", code.encode())] if code else []
    headers.append((b"Content-Length", b"%d" % len(body)))
    return Denial(status=200, phrase=b"OK", headers=tuple(headers), body=body)


def _each(asking: Asking, reason: str) -> Reasons:
    return {change.ref: reason for change in asking.changes}


def _rule(remote: GitRemote) -> str:
    return f"{remote.host} {' '.join(remote.repositories)}"
