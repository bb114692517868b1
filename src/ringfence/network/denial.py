"""What the contained side is told when something does not go on: a status, a stable code, one line. No internals."""

import msgspec

from ringfence.model.decision import Verdict
from ringfence.model.egress import HOST_LOOPBACK
from ringfence.policy.egress import Request, decide_connection, decide_request
from ringfence.policy.hosts import is_address

from .authority import Target
from .session import Refusal, Session
from .session import target as named

STATUS = {
    "bad-request": 400,
    "proxy-password": 407,
    "mismatch": 421,
    "busy": 503,
    "timed-out": 504,
    "not-found": 502,
    "unreachable": 502,
    "upstream-certificate": 502,
    "unreadable-answer": 502,
    "too-large": 413,
    "rate-exceeded": 429,
}
"""Every other code is 403: policy does not allow it, and asking again changes nothing."""

_TEXTS = {
    "egress-denied": "{what} is not allowed; ask the operator: ringfence allow {entry}",
    "address-denied": "{reason}; ask the operator for a rule with `addresses` that hold it",
    "budget-exceeded": "the budget for {where} is used up{limit}",
    "rate-exceeded": "too many requests to {where}{limit}; try again in {pause} s",
    "mismatch": "the request names another host than its connection",
    "not-found": "there is no host {host}",
    "unreachable": "{where} cannot be looked up or reached, or does not answer as a server should",
    "timed-out": "{where} did not answer in time",
    "busy": "too much is going on; try again later",
    "upstream-certificate": "the certificate of {where} cannot be verified by the authorities of this host",
    "secret-misuse": "a placeholder of a secret is where it may not go; {where} did not get the request",
    "secret-leak": "what looks like a secret would have gone out; {where} did not get the request",
    "unreadable-answer": "{where} answered in a form in which secrets cannot be found",
    "too-large": "the request is larger than what can be searched for secrets",
    "proxy-password": "this proxy wants the password that its URL in the environment holds",
}
_DENIED = "{what} is denied by a rule of policy, which no allowance lifts"
LARGE_FILES = b"application/vnd.git-lfs+json"
_WEB_PORTS = (80, 443)  # those of a rule that names none
MAX_PATH_SHOWN = 200
DRAINED_BYTES = 64 << 10  # of the body of a denied request, so that the connection can be used again


class Denial(msgspec.Struct, frozen=True, kw_only=True):
    """An answer of ours; `phrase` stands beside the status, where some programs show it and the body is lost."""

    status: int
    phrase: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def wire(self, *, keep: bool, bodiless: bool = False) -> bytes:
        """Return the answer in HTTP/1.1; `keep` where the connection goes on, `bodiless` to HEAD."""
        fields = [*self.headers, *([] if keep else [(b"Connection", b"close")])]
        lines = [b"HTTP/1.1 %d %b" % (self.status, self.phrase), *(b"%b: %b" % field for field in fields)]
        return b"\r\n".join(lines) + b"\r\n\r\n" + (b"" if bodiless else self.body)


def denial(session: Session, refusal: Refusal, target: Target | None, method: str = "") -> Denial:
    """Say to the contained side why a request does not go on.

    The reason of a refusal is the operator's, but for a malformed request, which only the program can mend, and for
    what a name resolved to, of which the dialer tells the kind alone (vetting.py). Of a budget the limit is told, which
    a program could count for itself.
    """
    where = named(target.host, target.port) if target else "the host"
    what = where
    if target and target.path and decide_connection(session.egress, target.host, target.port).verdict is Verdict.ALLOW:
        what = f"{method} {target.path[:MAX_PATH_SHOWN]} at {where}"
    text = _TEXTS.get(refusal.code, "{reason}")
    if refusal.code == "egress-denied" and target and _is_denied(session, target, method):
        text = _DENIED
    host = target.host if target else "HOST"
    short = not target or (target.port in _WEB_PORTS and not is_address(host) and host != HOST_LOOPBACK)
    line = text.format(
        what=what,
        where=where,
        host=host,
        entry=host if short else where,
        reason=refusal.reason,
        limit=refusal.limit and f": {refusal.limit}",
        pause=refusal.pause_s,
    )
    return stated(refusal.code, line, pause_s=refusal.pause_s)


def readable(answer: Denial, accept: bytes) -> Denial:
    """Put an answer of ours so that a client shows it: git LFS knows the `message` of its own type alone."""
    if LARGE_FILES not in accept:
        return answer
    body = msgspec.json.encode({"message": answer.body.decode().strip()})
    own = [(b"Content-Type", LARGE_FILES), (b"Content-Length", b"%d" % len(body))]
    kept = [field for field in answer.headers if field[0] not in (b"Content-Type", b"Content-Length")]
    return msgspec.structs.replace(answer, headers=(*kept, *own), body=body)


def denial_at(code: str, host: str, port: int) -> Denial:
    """Say why a request to a host does not go on, where that is no question of the session's rules (hop.py)."""
    where = named(host, port)
    text = _TEXTS.get(code, "this request may not go to {where}")
    return stated(code, text.format(what=where, where=where, host=host, entry=where, reason="", limit="", pause=0))


def stated(code: str, line: str, *, pause_s: int = 0) -> Denial:
    """Put a code and one line into the form that every answer of ours has; `pause_s` where waiting helps."""
    phrase = f"ringfence: {code}: {line}".encode("ascii", "replace")
    body = phrase + b"\n"
    headers = [
        (b"Content-Type", b"text/plain"),
        (b"X-Ringfence", code.encode()),
        (b"Cache-Control", b"no-store"),
        (b"Content-Length", str(len(body)).encode()),
    ]
    if pause_s:
        headers.append((b"Retry-After", b"%d" % pause_s))
    if code == "proxy-password":
        headers.append((b"Proxy-Authenticate", b'Basic realm="ringfence"'))
    printable = bytes(byte if 0x20 <= byte < 0x7F else ord("?") for byte in phrase)
    return Denial(status=STATUS.get(code, 403), phrase=printable, headers=tuple(headers), body=body)


def _is_denied(session: Session, target: Target, method: str) -> bool:
    """Tell whether a rule denies it, rather than none allowing it."""
    if target.path:
        request = Request(
            host=target.host, port=target.port, scheme=target.scheme or "http", method=method, path=target.path
        )
        decision = decide_request(session.egress, request)
    else:
        decision = decide_connection(session.egress, target.host, target.port)
    return decision.verdict is Verdict.DENY and decision.rule != ""
