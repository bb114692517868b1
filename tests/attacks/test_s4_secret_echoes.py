"""S4: a server gives a value back that was put in: by accident, as a debugging page, or because somebody asked it to.

One run asks the lab's server for every encoding that it knows. Whoever has the whole answer tries every usual reading
of it (keeping.READINGS); where none brings the value to light, it was caught. The table says what is not, too.
"""

import base64
import dataclasses
import re
from collections.abc import Iterator

import pytest

from tests import requirements
from tests.attacks import keeping, trail
from tests.attacks.arena import Arena, Ran
from tests.attacks.crossing import EVIL, GOOD
from tests.attacks.keeping import SCRIPT
from tests.house.sources import ROOT
from tests.integration.lab.echoes import ENCODINGS
from tests.lab import Lab

OPAQUE, SECOND = "pypi.example.com", "h2.example.com"
POLICY = f"""
[network]
allow = ["{GOOD}:80,443", "{EVIL}:80,443", {{ host = "{OPAQUE}", inspection = "sni" }},
         {{ host = "{SECOND}", http2 = true }}]
[secrets.service]
source = {{ env = "SERVICE_TOKEN" }}
inject = [{{ host = "{GOOD}", header = "authorization" }}, {{ host = "{GOOD}", header = "x-api-key" }}]
variables = ["SERVICE_TOKEN"]
"""
TWICE = "encoded twice, by other means than percent signs and backslashes"
TURNED = "a transformation that nothing undoes by itself; such a server works for the attacker"
RARE = "an alphabet, or a charset, that hardly anything uses by itself"
UNCAUGHT = {
    "double-base64": TWICE,
    "base64-of-utf-16": TWICE,
    "utf-7": RARE,
    "ebcdic": RARE,
    "base85": RARE,
    "ascii85": RARE,
    "uuencode": RARE,
    "bits": RARE,
    "reversed": TURNED,
    "rot13": TURNED,
    "capitals": TURNED,
    "spaced": TURNED,
    "characters": TURNED,
    "halves": "in pieces, each too short to be known",
    "gzip-unsaid": "compressed within a body, without a coding that says so",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Echo:
    """One way in which a value comes back: `step` gives the bytes of an answer. `why` only where it is not caught."""

    name: str
    step: str
    why: str = ""

    @property
    def caught(self) -> bool:
        """Whether the value stays outside."""
        return not self.why


def asked(name: str, path: str, *, more: str = "BEARER") -> Echo:
    """A request to GOOD."""
    return Echo(name, f"https(whole(path={path!r}, more={more}))")


ACCEPTING = "Accept-Encoding: br, gzip, zstd\\r\\n"
UPGRADE = """
more = BEARER + "Connection: Upgrade\\r\\nUpgrade: websocket\\r\\nSec-WebSocket-Version: 13\\r\\n"
more += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n"
"""
SOCKET = "whole(path='/ws?greet', more=UPGRADE, last=False) + b'\\x88\\x80\\0\\0\\0\\0'"
ELSEWHERE = "whole(path='/echo-last', host=%r)"
ECHOES = (
    *(Echo(name, f"https(whole(path='/echo-in/{name}', more=BEARER))", UNCAUGHT.get(name, "")) for name in ENCODINGS),
    asked("another-header", "/echo-in/raw?header=x-api-key", more="'X-Api-Key: ' + TOKEN + '\\r\\n'"),
    asked("password-of-basic", "/echo-in/raw", more="'Authorization: Basic ' + mixed('x:' + TOKEN) + '\\r\\n'"),
    asked("codings-asked-for", "/echo-in/gzip", more=f"BEARER + '{ACCEPTING}'"),
    asked("all-headers", "/hdr"),
    asked("part-of-an-answer", "/echo-in/raw", more="BEARER + 'Range: bytes=2-15\\r\\n'"),
    asked("at-the-edge-of-a-buffer", "/echo-in/raw?size=65530"),
    asked("at-the-edge-of-a-larger-one", "/echo-in/raw?size=262135"),
    asked("far-into-compressed", "/echo-in/gzip?size=300000"),
    asked("far-into-chunks", "/echo-in/split?size=3000"),
    Echo("first-of-two", "https(whole(path='/echo-in/raw', more=BEARER, last=False) + whole(path='/ok'))"),
    Echo("remembered", f"https({ELSEWHERE % GOOD})"),
    Echo("remembered-by-another-host", f"https({ELSEWHERE % EVIL}, {EVIL!r})"),
    Echo(
        "remembered-by-another-host-in-gzip",
        f"https({ELSEWHERE.replace('last', 'last?gzip') % EVIL}, {EVIL!r})",
        "compressed, by a host that no value goes to",
    ),
    Echo("remembered-in-plain-http", f"http({ELSEWHERE % EVIL}, {EVIL!r})"),
    Echo("first-message-of-a-websocket", f"https({SOCKET})"),
    Echo("message-in-two-frames", f"https({SOCKET.replace('?greet', '?greet-in-two')})"),
    Echo(
        "remembered-by-a-tunnel",
        f"https({ELSEWHERE % OPAQUE}, {OPAQUE!r})",
        "nobody looks into a tunnel (`sni`, `raw`)",
    ),
)
TABLE = (
    SCRIPT
    + UPGRADE.replace("more", "UPGRADE")
    + f"""
for name, step in {[(echo.name, echo.step) for echo in ECHOES]!r}:
    try:
        data = eval(step)
    except (OSError, ValueError) as error:
        data = b"failed: " + repr(error).encode()
    print("echo", name, base64.b64encode(data).decode(), flush=True)
"""
)
TABLED = keeping.misuse("echoes", TABLE, policy=POLICY, evidence=lambda arena, ran: False)


@dataclasses.dataclass(frozen=True, slots=True)
class Answers:
    """The answers of one run, by the name of the echo; the value; what the audit says."""

    found: dict[str, bytes]
    value: str
    placeholder: str = ""
    codes: frozenset[tuple[str, str]] = frozenset()


def answers(arena: Arena, ran: Ran) -> Answers:
    """Read what a script printed."""
    words = [line.split(" ") for line in ran.output.splitlines() if line.startswith("echo ")]
    assert [word[1] for word in words] == [echo.name for echo in ECHOES], ran.output[-2000:]
    return Answers({word[1]: base64.b64decode(word[2]) for word in words}, arena.canary)


@pytest.fixture(scope="module")
def steady() -> Iterator[None]:
    """No standby outlives these runs."""
    requirements.require("bubblewrap", "overlay", "network-lab")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RINGFENCE_STANDBY", "0")
        yield


@pytest.fixture(scope="module")
def bare(lab: Lab, steady: None) -> Answers:
    """Without a boundary."""
    with Arena.open(TABLED.prepare, lab) as arena:
        return answers(arena, arena.unconfined(TABLED))


@pytest.fixture(scope="module")
def unkept(lab: Lab, steady: None) -> Answers:
    """Within a boundary that passes the variable."""
    with Arena.open(TABLED.prepare, lab) as arena:
        return answers(arena, arena.confined(keeping.unkept(TABLED)))


@pytest.fixture(scope="module")
def kept(lab: Lab, steady: None) -> Answers:
    """Within a boundary that keeps the secret."""
    told = dataclasses.replace(TABLED, script=TABLED.script + "print('token', TOKEN)")
    with Arena.open(TABLED.prepare, lab) as arena:
        ran = arena.confined(told)
        assert arena.canary not in ran.output
        codes = frozenset((record.kind, record.code) for record in trail.of_one_run(arena, ran.output))
        placeholder = ran.output.rpartition("token ")[2].strip()
        return dataclasses.replace(answers(arena, ran), codes=codes, placeholder=placeholder)


def shown(answers: Answers, name: str) -> bool:
    """Whether the answer gives the value away."""
    return any(keeping.reveals(body, answers.value) for body in keeping.bodies(answers.found[name]))


# Of a part of an answer, and of what no HTTP library gives to a program, nobody could tell the whole value anyway.
PARTIAL = ("part-of-an-answer",)


@pytest.mark.timeout(400)  # the first of them makes three runs of all
@pytest.mark.parametrize("echo", ECHOES, ids=lambda echo: echo.name)
def test_echo(echo: Echo, bare: Answers, unkept: Answers, kept: Answers) -> None:
    """Shown without a boundary and without the rule; with it exactly where the table says so."""
    if echo.name not in PARTIAL:
        assert shown(bare, echo.name), bare.found[echo.name][:500]
    assert shown(kept, echo.name) is not echo.caught, kept.found[echo.name][:2000]
    assert echo.caught or shown(unkept, echo.name)


def test_a_part_of_a_value_is_not_given_either(bare: Answers, kept: Answers) -> None:
    """`Range` could take a value out piece by piece, each too short to be known."""
    assert bare.value[1:15].encode() in bare.found["part-of-an-answer"]
    assert bare.value[1:7].encode() not in kept.found["part-of-an-answer"].partition(b"\r\n\r\n")[2]
    assert kept.value[1:7].encode() not in kept.found["part-of-an-answer"]


@pytest.mark.parametrize("name", ["raw", "base64", "gzip", "split", "split-gzip", "header", "sse", "all-headers"])
def test_the_placeholder_comes_back_instead(name: str, kept: Answers) -> None:
    """A program that compares what it sent with what it is told goes on working."""
    found = dataclasses.replace(kept, value=kept.placeholder)
    assert shown(found, name), kept.found[name]
    assert kept.found[name].startswith(b"HTTP/1.1 200")


SETTINGS = {"sni", "raw", "http2"}
UNREADABLE = ("br-said", "zstd-said", "unknown-said", "gzip-and-unknown")


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_looked_into_does_not_come_in(name: str, kept: Answers) -> None:
    """A coding that nobody here can undo might hide anything."""
    assert b"x-ringfence: unreadable-answer" in kept.found[name].lower(), kept.found[name]


def test_it_is_recorded_and_does_not_taint(kept: Answers) -> None:
    """What a server does is not the run's doing."""
    assert {("secret", "injected"), ("secret", "scrubbed")} <= kept.codes
    assert "taint" not in {kind for kind, _ in kept.codes}


def test_the_page_about_secrets_has_what_is_not_caught() -> None:
    page = (ROOT / "docs/secrets.md").read_text().partition("## What is not recognised")[2]
    assert {echo.name for echo in ECHOES if not echo.caught} == set(re.findall("`([a-z0-9-]+)`", page)) - SETTINGS


def test_the_table_is_about_what_the_lab_can_do() -> None:
    assert set(UNCAUGHT) <= set(ENCODINGS)
    assert len([echo for echo in ECHOES if echo.caught]) >= 12
