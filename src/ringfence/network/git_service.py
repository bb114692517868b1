"""git over HTTP at hosts with `git.remotes`: each request is decided by what it does, a push before any of it is sent.

`admit` is asked about every request that the ordinary rules allow, before there is a connection upstream. It gives the
request to carry out, an answer of ours (a refusal that git shows to its user, or what a server said to our question),
or a refusal.
"""

import h11
import msgspec

from ringfence.model.decision import Decision, Verdict
from ringfence.model.git import GitRemote
from ringfence.policy import git

from .denial import Denial
from .exchange import Asked
from .git_endpoints import RECEIVE_PACK, UPLOAD_PACK, Endpoint, Service, endpoint
from .git_packets import error_advertisement
from .git_receive import Receiving, advertised, own_answer
from .git_upstream import Upstream
from .held import Held, go_on, held, require_plain
from .http1 import values
from .malformed import Malformed
from .session import Connection, Refusal, Session
from .stream import Stream

BATCH_BYTES = 4 << 20  # of LFS
ADVERTISEMENT = "application/x-{}-advertisement"

Admitted = Asked | Denial | Refusal


class Batch(msgspec.Struct):
    """What of an LFS batch decides."""

    operation: str


_batch = msgspec.json.Decoder(Batch)


async def admit(client: Stream, session: Session, connection: Connection, asked: Asked) -> Admitted:
    """Decide on a request as git's, where its host is governed; raise OSError where the client must be cut.

    What it gives must be given to `release` in the end.
    """
    target = asked.target
    remotes = git.governed(session.egress, target.host)
    if not remotes:
        return asked
    kind = b",".join(values(asked.head.headers, b"content-type"))
    try:
        found = endpoint(asked.method, target.path, target.query, kind)
        return (
            await _Service(client, session, connection, asked=asked, remotes=remotes).admit(found) if found else asked
        )
    except Malformed as error:
        return session.refuse(connection, error.code, error.reason, method=asked.method, path=target.path)
    except h11.RemoteProtocolError:
        return session.refuse(connection, "bad-request", "the body is not framed as announced")


async def release(session: Session, admitted: Admitted) -> None:
    """Give back what an admitted request has taken."""
    if isinstance(admitted, Asked) and isinstance(admitted.body, Held) and admitted.body.spool is not None:
        await session.spools.give(admitted.body.spool)


class _Service:
    """One request of git."""

    def __init__(
        self, client: Stream, session: Session, connection: Connection, *, asked: Asked, remotes: tuple[GitRemote, ...]
    ) -> None:
        self.client = client
        self.session = session
        self.connection = connection
        self.asked = asked
        self.remotes = remotes

    async def admit(self, found: Endpoint) -> Admitted:
        repository = found.repository
        match found.service:
            case Service.FETCH_REFS:
                refusal = self._decided(found, git.decide_fetch(self.remotes, repository))
                return _said(UPLOAD_PACK, refusal) if refusal else self.asked
            case Service.FETCH | Service.DUMB:
                return self._decided(found, git.decide_fetch(self.remotes, repository)) or self.asked
            case Service.LFS_DOWNLOAD | Service.LFS_UPLOAD:
                return self._large(found, upload=found.service is Service.LFS_UPLOAD) or self.asked
            case Service.LFS_BATCH:
                return await self._batch(found)
            case Service.PUSH_REFS:
                return await self._offer(found)
            case Service.PUSH:
                return await self._push(found)

    def _decided(self, found: Endpoint, decision: Decision) -> Refusal | None:
        if decision.verdict is Verdict.ALLOW:
            return None
        reason = f"{found.repository}: {decision.reason}"
        return self.session.refuse(
            self.connection,
            "git-denied",
            reason,
            repository=found.repository,
            rule=decision.rule,
            service=found.service.value,
        )

    # ---- LFS

    def _large(self, found: Endpoint, *, upload: bool) -> Refusal | None:
        return self._decided(found, git.decide_large_files(self.remotes, found.repository, upload=upload))

    async def _batch(self, found: Endpoint) -> Admitted:
        """Decide on what a batch asks for: downloads or uploads, of which its body alone tells."""
        require_plain(self.asked)
        await go_on(self.client, self.asked)
        body = b""
        while data := await self.asked.body.read():
            body += data
            if len(body) > BATCH_BYTES:
                raise Malformed("a batch of git LFS that is too long")
        try:
            operation = _batch.decode(body).operation
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Malformed("not a batch of git LFS") from error
        if operation not in ("download", "upload") or body.lower().count(b'"operation"') != 1 or b"\\u" in body:
            raise Malformed("a batch of git LFS with more than one meaning")
        return self._large(found, upload=operation == "upload") or held(self.asked, Held(body))

    # ---- pushes

    async def _offer(self, found: Endpoint) -> Admitted:
        """Answer what a push begins with: the server's refs, and of what it can do what may be used."""
        if not git.pushing(self.remotes, found.repository):
            return _said(RECEIVE_PACK, self._no_push(found))
        upstream = Upstream(self.session, self.connection, self.asked, found.root)
        try:
            offered = advertised(await upstream.refs())
        except Malformed as error:
            reason, repository = f"{found.repository}: {error.reason}", found.repository
            refusal = self.session.refuse(self.connection, "push-denied", reason, repository=repository)
            return _said(RECEIVE_PACK, refusal)
        finally:
            await upstream.close()
        if isinstance(offered, Denial):
            return offered
        return own_answer(ADVERTISEMENT.format(RECEIVE_PACK), offered.rewritten)

    async def _push(self, found: Endpoint) -> Admitted:
        rules = git.pushing(self.remotes, found.repository)
        if not rules:
            return self._no_push(found)
        receiving = Receiving(self.client, self.session, self.connection, asked=self.asked, found=found)
        return await receiving.admit(rules)

    def _no_push(self, found: Endpoint) -> Refusal:
        reason = f"{found.repository}: no rule allows pushing to it"
        return self.session.refuse(self.connection, "push-denied", reason, repository=found.repository)


def _said(service: str, refusal: Refusal) -> Denial:
    return own_answer(ADVERTISEMENT.format(service), error_advertisement(service, refusal.reason), refusal.code)
