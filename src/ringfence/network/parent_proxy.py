"""The network's own proxy, where connections may leave by no other way: HTTP CONNECT (RFC 9110, 9.3.6).

The parent resolves the names that it is given. What they resolve to, and so whether it is an address that policy
denies, is then the parent's knowledge alone: only hosts and ports are decided upon here.
"""

import _socket
import re
import select

from ringfence.policy.hosts import bracketed, canonical_host

from .attempts import Outcome, Steps, Wait

HEAD_BYTES = 8 << 10
URL = re.compile(r"http://(?P<host>[^/?#@\\:\[\]]+|\[[^\]]*\])(:(?P<port>[0-9]{1,5}))?/?")
# A status line and header fields of visible characters, tabs and what is not ASCII (RFC 9112, sections 4 and 5).
HEAD = re.compile(
    rb"HTTP/1\.[01] ([1-5][0-9]{2})( [\t -~\x80-\xff]*)?\r\n([!#-'*+.0-9A-Z^-z|~-]+:[\t -~\x80-\xff]*\r\n)*\r\n"
)


def endpoint(url: str) -> tuple[str, int]:
    """Take `http://HOST[:PORT][/]` apart; raise ValueError for any other URL."""
    found = URL.fullmatch(url)
    if not found or not 0 < (port := int(found["port"] or 80)) < 1 << 16:
        raise ValueError("a parent proxy is written `http://HOST:PORT`")
    return canonical_host(found["host"]), port


def converse(connected: _socket.socket, host: str, port: int) -> Steps:
    """Ask a parent proxy for a connection to a canonical host; what follows its reply is left on the socket."""
    head = b""
    place = f"{bracketed(host)}:{port}"
    kept = False
    try:
        connected.send(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode("ascii"))  # fits an empty buffer
        while not head.endswith(b"\r\n\r\n"):
            yield Wait((connected,), select.POLLIN)
            arrived = connected.recv(HEAD_BYTES, _socket.MSG_PEEK)
            end = (head + arrived).find(b"\r\n\r\n")
            head += connected.recv(end + 4 - len(head) if end >= 0 else len(arrived) or 1)
            if not arrived or len(head) > HEAD_BYTES:
                return Outcome(code="unreachable", reason="the parent proxy gave no answer")
        found = verdict(head)
        kept = not found.code
        return Outcome(connected) if kept else found
    except OSError:
        return Outcome(code="unreachable", reason="the parent proxy ended the connection")
    finally:
        if not kept:
            connected.close()


def verdict(head: bytes) -> Outcome:
    """Say why a reply means that there is no connection; a success has no code."""
    found = HEAD.fullmatch(head)
    if not found:
        return Outcome(code="unreachable", reason="the parent proxy's answer is not HTTP")
    number = int(found[1])
    if number == 407:
        return Outcome(code="unreachable", reason="the parent proxy asks for a password")
    code = "timed-out" if number == 504 else "unreachable"
    return Outcome() if 200 <= number < 300 else Outcome(code=code, reason=f"the parent proxy answered {number}")
