"""E3: one connection, two meanings: names that differ, framing that two parsers read differently, paths and methods.

A request that is refused must not arrive at all, not even in a cleaned-up form that names the allowed host.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.attacks.attack import Attack, cases
from tests.attacks.crossing import ALLOW, EVIL, GOOD, arrives, crossing, settle
from tests.house.sources import ROOT
from tests.lab import Lab

DENIED, BAD, MISMATCH = "egress-denied", "bad-request", "mismatch"
CHILD = f"x.{GOOD}"
NOBODY = "None"


def tls(connected: str, server_name: str, host: str, *, code: str = MISMATCH) -> Attack:
    """A connection to one name, a TLS hello with another, a request for a third."""
    body = f"""
for way in ways({connected!r}, 443):
    attempt(lambda: get(secure(way(), {server_name!r}), {host!r}))
"""
    title = "-".join(
        f"{part}-{ {GOOD: 'good', EVIL: 'evil', '': 'none'}.get(name, 'other') }"
        for part, name in (("to", connected), ("sni", server_name), ("host", host))
    )
    return crossing(title, body.replace("''", NOBODY), code=code)


def pieces(name: str, server_name: str, size: int) -> Attack:
    """A TLS hello cut over many records."""
    body = f"""
incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
session = ssl._create_unverified_context().wrap_bio(incoming, outgoing, server_hostname={server_name!r})
def shaken(link):
    cut = True
    while True:
        try:
            session.do_handshake()
            break
        except ssl.SSLWantReadError:
            data = outgoing.read()
            if cut:
                data = b"".join(data[:3] + len(part).to_bytes(2, "big") + part for part in
                                (data[at : at + {size}] for at in range(5, len(data), {size})))
            cut = False
            link.sendall(data)
            incoming.write(link.recv(65536))
    link.sendall(outgoing.read())
    session.write(b"GET /@mark@ HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
    return tell(link, outgoing.read())
attempt(lambda: shaken(direct(GOOD, 443)))
"""
    return crossing(name, body, code=MISMATCH)


@cases(
    tls(GOOD, EVIL, EVIL),
    tls(GOOD, EVIL, GOOD),
    tls(GOOD, GOOD, EVIL),
    tls(GOOD, CHILD, GOOD),
    tls(GOOD, CHILD, CHILD),
    tls(GOOD, GOOD, f"{GOOD}:8443"),
    tls(GOOD, GOOD, "11.22.33.10"),
    tls(GOOD, GOOD, f"{GOOD}@{EVIL}", code=BAD),
    tls(GOOD, "", GOOD),
    tls(GOOD, "", EVIL),
    tls(EVIL, GOOD, GOOD, code=DENIED),
    tls(EVIL, GOOD, EVIL, code=DENIED),
    tls(EVIL, EVIL, GOOD, code=DENIED),
    tls(EVIL, EVIL, EVIL, code=DENIED),
    tls(EVIL, "", EVIL, code=DENIED),
    pieces("hello-in-pieces", EVIL, 60),
    pieces("hello-in-small-pieces", EVIL, 20),
)
def test_names_of_one_connection(attack: Attack, carry_out_in_lab: Callable[[Attack], None]) -> None:
    carry_out_in_lab(attack)


def sent(name: str, head: str, *, code: str = BAD, ports: tuple[int, ...] = (80, 443)) -> Attack:
    """A request, as bytes, over a captured connection to the allowed host; each `~` is a CRLF."""
    data = head.replace("~", "\r\n").encode("latin-1")
    body = f"""
data = {data!r}.replace(b"MARK", MARK.encode())
for port in {ports!r}:
    attempt(lambda: tell(direct(GOOD, port) if port != 443 else secure(direct(GOOD, port), GOOD), data))
"""
    return crossing(name, body, code=code)


def framed(name: str, fields: str, rest: str = "5~hello~0~~", *, line: str = "POST /MARK HTTP/1.1") -> Attack:
    """A request whose body has two lengths, or a length that is no number."""
    return sent(name, f"{line}~Host: {GOOD}~{fields}~Connection: close~~{rest}")


@cases(
    framed("length-and-chunked", "Content-Length: 5~Transfer-Encoding: chunked"),
    framed("chunked-and-length", "Transfer-Encoding: chunked~Content-Length: 5"),
    framed("two-lengths", "Content-Length: 5~Content-Length: 6", "hello!"),
    framed("two-equal-lengths", "Content-Length: 5~Content-Length: 5", "hello"),
    framed("list-of-lengths", "Content-Length: 5, 5", "hello"),
    framed("signed-length", "Content-Length: +5", "hello"),
    framed("negative-length", "Content-Length: -5", "hello"),
    framed("hexadecimal-length", "Content-Length: 0x5", "hello"),
    framed("underscored-length", "Content-Length: 1_0", "hellohello"),
    framed("huge-length", "Content-Length: 99999999999999999999999", "hello"),
    framed("length-by-underscore", "Content_Length: 5~Content-Length: 0", "hello"),
    framed("other-coding", "Transfer-Encoding: xchunked"),
    framed("two-codings", "Transfer-Encoding: chunked, identity"),
    framed("coding-before", "Transfer-Encoding: gzip, chunked"),
    framed("two-coding-fields", "Transfer-Encoding: chunked~Transfer-Encoding: chunked"),
    framed("space-before-the-colon", "Transfer-Encoding : chunked~Content-Length: 5"),
    framed("folded-coding", "Transfer-Encoding:~ chunked~Content-Length: 5"),
    framed("tab-in-the-name", "Transfer-Encoding\t: chunked"),
    framed("vertical-tab", "Transfer-Encoding: \x0bchunked"),
    framed("nul-in-a-field", "X: a\0b~Content-Length: 0", ""),
    framed("bare-carriage-return", "X: a\rTransfer-Encoding: chunked~Content-Length: 5"),
    framed("bare-line-feed", "X: a\nTransfer-Encoding: chunked~Content-Length: 5"),
    framed("coding-dropped-by-connection", "Transfer-Encoding: chunked~Connection: transfer-encoding"),
    framed("length-dropped-by-connection", "Content-Length: 5~Connection: content-length", "hello"),
    framed("chunked-in-1.0", "Transfer-Encoding: chunked", line="POST /MARK HTTP/1.0"),
    framed("expectation", "Expect: 200-ok~Content-Length: 5", "hello"),
    framed("body-on-get", "Content-Length: 5", "hello", line="GET /MARK HTTP/1.1"),
    framed("chunked-body-on-head", "Transfer-Encoding: chunked", line="HEAD /MARK HTTP/1.1"),
    framed("other-method-by-field", "X-HTTP-Method-Override: DELETE~Content-Length: 0", ""),
    framed("other-path-by-field", "X-Original-URL: /x~Content-Length: 0", ""),
    framed("trace", "Max-Forwards: 1", "", line="TRACE /MARK HTTP/1.1"),
    framed("small-letters", "X: y", "", line="get /MARK HTTP/1.1"),
    framed("two-spaces", "X: y", "", line="GET  /MARK HTTP/1.1"),
    framed("tabs-for-spaces", "X: y", "", line="GET\t/MARK\tHTTP/1.1"),
    framed("other-version", "X: y", "", line="GET /MARK HTTP/1.2"),
    framed("next-version", "X: y", "", line="GET /MARK HTTP/2.0"),
    framed("fragment", "X: y", "", line="GET /MARK#x HTTP/1.1"),
    framed("bare-path", "X: y", "", line="GET MARK HTTP/1.1"),
    sent("no-version", "GET /MARK~~"),
    sent("empty-line-first", f"~GET /MARK HTTP/1.1~Host: {GOOD}~Connection: close~~"),
    sent("no-host", "GET /MARK HTTP/1.1~Connection: close~~"),
    sent("two-hosts", f"GET /MARK HTTP/1.1~Host: {GOOD}~Host: {EVIL}~Connection: close~~"),
    sent("two-equal-hosts", f"GET /MARK HTTP/1.1~Host: {GOOD}~Host: {GOOD}~Connection: close~~"),
    sent("folded-host", f"GET /MARK HTTP/1.1~Host: {GOOD}~ {EVIL}~Connection: close~~"),
    sent("host-in-a-list", f"GET /MARK HTTP/1.1~Host: {GOOD}, {EVIL}~Connection: close~~"),
    sent("host-dropped", f"GET /MARK HTTP/1.1~Host: {GOOD}~Connection: host, close~~"),
    sent("other-host", f"GET /MARK HTTP/1.1~Host: {EVIL}~Connection: close~~", code=MISMATCH),
    sent("other-port", f"GET /MARK HTTP/1.1~Host: {GOOD}:22~Connection: close~~", code=MISMATCH),
    sent("absolute-other", f"GET http://{EVIL}/MARK HTTP/1.1~Host: {EVIL}~Connection: close~~", code=MISMATCH),
    sent("absolute-against-host", f"GET http://{GOOD}/MARK HTTP/1.1~Host: {EVIL}~Connection: close~~", code=MISMATCH),
    sent("absolute-other-hosted", f"GET http://{EVIL}/MARK HTTP/1.1~Host: {GOOD}~Connection: close~~", code=MISMATCH),
    sent("absolute-other-scheme", f"GET ftp://{GOOD}/MARK HTTP/1.1~Host: {GOOD}~Connection: close~~"),
    sent("absolute-user", f"GET http://{GOOD}@{EVIL}/MARK HTTP/1.1~Host: {GOOD}~Connection: close~~"),
    sent(
        "options-about-another",
        f"OPTIONS http://{EVIL} HTTP/1.1~Host: {EVIL}~X: MARK~Connection: close~~",
        code=MISMATCH,
    ),
    sent("connect-to-an-origin", f"CONNECT {EVIL}:80 HTTP/1.1~Host: {EVIL}:80~X: MARK~~"),
    sent("query-with-controls", f"GET /?MARK=\x01 HTTP/1.1~Host: {GOOD}~Connection: close~~"),
    sent(
        "second-in-a-pipeline",
        f"GET /x HTTP/1.1~Host: {GOOD}~~GET /MARK HTTP/1.1~Host: {EVIL}~Connection: close~~",
        code=MISMATCH,
    ),
    sent(
        "second-behind-a-body",
        f"POST /x HTTP/1.1~Host: {GOOD}~Content-Length: 5~~helloGET /MARK HTTP/1.1~Host: {EVIL}~Connection: close~~",
        code=MISMATCH,
    ),
    sent(
        "second-behind-chunks",
        f"POST /x HTTP/1.1~Host: {GOOD}~Transfer-Encoding: chunked~~5~hello~0~~"
        f"GET /MARK HTTP/1.1~Host: {EVIL}~Connection: close~~",
        code=MISMATCH,
    ),
)
def test_requests_with_two_meanings(attack: Attack, carry_out_in_lab: Callable[[Attack], None]) -> None:
    carry_out_in_lab(attack)


RULE = f'allow = [{{ host = "{GOOD}", methods = ["GET"], paths = ["/git/**"] }}]'


def asked(name: str, target: str, *, method: str = "GET", more: str = "", code: str = BAD) -> Attack:
    """A request that no rule allows, though its path may look allowed to somebody; with MARK for the mark."""
    head = f"{method} {target} HTTP/1.1~Host: {GOOD}~{more}Connection: close~~"
    return dataclasses.replace(sent(name, head, code=code), options=(), policy=f"[network]\n{RULE}\n")


@cases(
    asked("another-path", "/MARK", code=DENIED),
    asked("parent-of-the-path", "/git", more="X: MARK~", code=DENIED),
    asked("longer-name", "/gitMARK", code=DENIED),
    asked("capitals", "/GIT/MARK", code=DENIED),
    asked("allowed-path-in-the-query", "/MARK?/git/x", code=DENIED),
    asked("dots", "/git/../MARK"),
    asked("dots-at-the-end", "/git/MARK/.."),
    asked("one-dot", "/git/./MARK"),
    asked("encoded-dots", "/git/%2e%2e/MARK"),
    asked("half-encoded-dots", "/git/.%2e/MARK"),
    asked("twice-encoded-dots", "/git/%252e%252e/MARK"),
    asked("encoded-slash", "/git/..%2fMARK"),
    asked("encoded-slashes-and-dots", "/git%2f%2e%2e%2fMARK"),
    asked("backslashes", "/git/..\\MARK"),
    asked("encoded-backslashes", "/git/..%5cMARK"),
    asked("parameters", "/git/..;/MARK"),
    asked("parameters-with-value", "/git/..;a=b/MARK"),
    asked("encoded-parameters", "/git/..%3b/MARK"),
    asked("empty-segment", "//MARK/git/x"),
    asked("empty-segment-within", "/git//../MARK"),
    asked("empty-segment-by-parameters", "/git/;/../MARK"),
    asked("nul", "/git/%00/../MARK"),
    asked("overlong", "/git/%c0%ae%c0%ae/MARK"),
    asked("overlong-slash", "/git/..%c0%afMARK"),
    asked("full-width-dots", "/git/%ef%bc%8e%ef%bc%8e/MARK"),
    asked("full-width-slash", "/git/..%ef%bc%8fMARK"),
    asked("unicode-escapes", "/git/%u002e%u002e/MARK"),
    asked("space-after-dots", "/git/..%20/MARK"),
    asked("broken-encoding", "/git/%zz/../MARK"),
    asked("encoded-question-mark", "/MARK%3f/git/x", code=DENIED),
    asked("encoded-number-sign", "/MARK%23/git/x", code=DENIED),
    asked("absolute-form", f"http://{GOOD}/MARK", code=DENIED),
    asked("asterisk", "*", method="OPTIONS", more="X: MARK~", code=DENIED),
    asked("another-method", "/git/MARK", method="DELETE", code=DENIED),
    asked("head-is-not-get", "/git/MARK", method="HEAD", code=DENIED),
    asked("posting", "/git/MARK", method="POST", more="Content-Length: 0~", code=DENIED),
    asked("method-in-small-letters", "/git/MARK", method="Get"),
    asked("longer-method", "/git/MARK", method="GETX", code=DENIED),
    asked("method-by-field", "/git/MARK", more="X-HTTP-Method: DELETE~"),
    asked("method-by-field-with-underscores", "/git/MARK", more="X_HTTP_METHOD_OVERRIDE: DELETE~"),
    asked("path-by-field", "/git/MARK", more="X-Rewrite-URL: /x~"),
)
def test_paths_and_methods(attack: Attack, carry_out_in_lab: Callable[[Attack], None]) -> None:
    carry_out_in_lab(attack)


HTTP2 = """
def literal(text):
    return bytes((127, len(text) - 127)) + text if len(text) >= 127 else bytes((len(text),)) + text

def frame(kind, flags, stream, data):
    return len(data).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + data

def heads(*requests):
    found = b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n" + frame(4, 0, 0, b"")
    for number, fields in enumerate(requests):
        block = b"".join(b"\\0" + literal(name.encode()) + literal(value.encode()) for name, value in fields)
        found += frame(1, 5, 2 * number + 1, block)
    return found

def request(authority, path="/" + MARK, scheme="https", method="GET", more=()):
    named = ((":authority", authority),) if authority else ()
    return ((":method", method), (":scheme", scheme), *named, (":path", path), *more)
HOST = "h2.example.com"

def tell_all(link, *requests):
    # Hear until each stream has an end, or all have; the connection itself goes on.
    def is_all(data):
        ends = set()
        while len(data) >= 9 and len(data) >= (end := 9 + int.from_bytes(data[:3], "big")):
            kind, flags, stream = data[3], data[4], int.from_bytes(data[5:9], "big")
            ends |= {stream} if kind == 3 or (kind < 2 and flags & 1) else {0} if kind == 7 else set()
            data = data[end:]
        return 0 in ends or len(ends) == len(requests)
    return tell(link, heads(*requests), is_all)
"""


def streams(name: str, requests: str, *, code: str = MISMATCH, port: int = 443, broken: bool = False) -> Attack:
    """Requests of HTTP/2, where a rule allows it to its host; the lab's own server takes no `broken` ones."""
    link = "secure(direct(HOST, 443), HOST, 'h2')" if port == 443 else f"direct(HOST, {port})"
    body = f"{HTTP2}attempt(lambda: tell_all({link}, {requests}))"
    rules = 'allow = [{ host = "h2.example.com", http2 = true, paths = ["/git/**"] }]'
    made = crossing(name, body, code=code, rules=rules, evidence=arrives("h2.example.com"))
    return dataclasses.replace(made, refused_here=lambda: broken)


@cases(
    streams("other-authority", 'request(GOOD, "/git/x")'),
    streams("second-stream-to-another", 'request(HOST, "/git/x"), request(GOOD, "/git/" + MARK)'),
    streams("authority-against-host", 'request(HOST, "/git/" + MARK, more=(("host", GOOD),))', code=BAD, broken=True),
    streams("host-alone", 'request("", "/git/" + MARK, more=(("host", GOOD),))'),
    streams("two-authorities", 'request(HOST, "/git/" + MARK, more=((":authority", GOOD),))', code=BAD, broken=True),
    streams("other-port", 'request(HOST + ":8443", "/git/" + MARK)'),
    streams("other-scheme", 'request(HOST, "/git/" + MARK, "http")'),
    streams("user-in-the-authority", 'request(HOST + "@" + GOOD, "/git/" + MARK)', code=BAD),
    streams("other-path", "request(HOST)", code=DENIED),
    streams("dots", 'request(HOST, "/git/../" + MARK)', code=BAD),
    streams("absolute-path", 'request(HOST, "https://" + GOOD + "/git/" + MARK)'),
    streams(
        "line-break-in-the-path", 'request(HOST, "/git/ HTTP/1.1\\r\\nHost: x\\r\\n/" + MARK)', code=BAD, broken=True
    ),
    streams(
        "line-break-in-a-field", 'request(HOST, "/git/" + MARK, more=(("x", "a\\r\\nb: c"),))', code=BAD, broken=True
    ),
    streams(
        "framing-field",
        'request(HOST, "/git/" + MARK, more=(("transfer-encoding", "chunked"),))',
        code=BAD,
        broken=True,
    ),
    streams("connecting", 'request(HOST, "/git/" + MARK, method="CONNECT")', code=BAD, broken=True),
    streams("small-method", 'request(HOST, "/git/" + MARK, method="get")', code=BAD),
    streams("in-the-clear", 'request(HOST, "/git/" + MARK, "http")', code=BAD, port=80),
)
def test_streams(attack: Attack, carry_out_in_lab: Callable[[Attack], None]) -> None:
    carry_out_in_lab(attack)


NOT_FORWARDED = {
    "Forwarded": f"host={EVIL}",
    "X-Forwarded-Host": EVIL,
    "X-Host": EVIL,
    "Proxy-Authorization": "Basic eDp5",
    "Proxy-Connection": "keep-alive",
    "Upgrade": "h2c",
    "HTTP2-Settings": "AAMAAABkAAQAAP__",
    "Keep-Alive": "timeout=5",
}


@pytest.mark.require("bubblewrap", "overlay")
def test_what_speaks_of_other_hosts_and_hops_ends_here(lab: Lab, open_path: Path) -> None:
    """Such fields are no reason to refuse a request: clients send them by themselves."""
    fields = [word for name, value in NOT_FORWARDED.items() for word in ("-H", f"{name}: {value}")]
    fields += ["-H", "Connection: Upgrade, HTTP2-Settings", "-H", "X-Kept: yes"]
    curl = ["curl", "-sSk", "-m25", "--noproxy", "*", *fields, f"http://{GOOD}/", f"https://{GOOD}/"]
    seen = []
    for words in (curl, ["ringfence", "run", *ALLOW, "--", *curl]):
        mark = lab.mark()
        assert lab.run(words, cwd=open_path).stdout.count("OK remote") == 2
        arrived = [{name.lower() for name, _ in entry["headers"]} for entry in lab.since(mark, "http")]
        seen.append(set.union(*arrived))
    ended = {name.lower() for name in NOT_FORWARDED}
    assert ended <= seen[0] and not ended & seen[1] and "x-kept" in seen[1]


@pytest.mark.require("bubblewrap", "overlay")
@pytest.mark.parametrize(("depth", "passes"), [("inspect", False), ("sni", True)])
def test_domain_fronting_is_what_inspection_is_for(lab: Lab, open_path: Path, depth: str, *, passes: bool) -> None:
    """The documented limit of `sni`: who serves several names can be asked for any once the connection stands."""
    (open_path / "policy.toml").write_text(
        f'version = 1\n[network]\nallow = [{{ host = "{GOOD}", inspection = "{depth}" }}]\n'
    )
    settle(lab)
    mark = lab.mark()
    curl = ["curl", "-sSk", "-m50", "-H", f"Host: {EVIL}", f"https://{GOOD}/fronted"]
    lab.run(["ringfence", "run", "--policy", "policy.toml", "--", *curl], cwd=open_path)
    assert [entry["host"] for entry in lab.since(mark, "http")] == ([EVIL] if passes else [])
    assert "domain fronting" in (ROOT / "docs/egress.md").read_text()
