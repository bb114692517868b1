"""Attacks on secrets that never enter: what their scripts share, the rules they meet, and what counts as success.

They run in the network lab. The arena's canary is a token in the shell's SERVICE_TOKEN, and a file outside of the view
holds another. Policy lets a script reach GOOD and EVIL, and puts the token into requests to GOOD beneath `/ok/` alone.
Each attack must succeed twice before it must fail: without any boundary, and within one that is told no secrets but
passes the variable, where it is stopped by nothing else than what is tested here.
"""

import base64
import binascii
import codecs
import dataclasses
import gzip
import html
import json
import os
import quopri
import re
import urllib.parse
import zlib
from collections.abc import Callable

from tests.attacks.arena import Arena, Ran
from tests.attacks.attack import Attack, Evidence, check
from tests.attacks.crossing import EVIL, GOOD, PRELUDE, entries
from tests.integration.lab.echoes import DICTIONARY
from tests.lab import Entry, Lab

OTHER_FILE = "@home@/.config/other/token"
NETWORK = f"""
[network]
allow = ["{GOOD}:80,443,4443", "{EVIL}:80,443"]
"""
INJECT = f'{{ host = "{GOOD}", header = "authorization", methods = ["GET", "POST"], paths = ["/ok/**"] }}'
SECRETS = f"""
[secrets.service]
source = {{ env = "SERVICE_TOKEN" }}
inject = [{INJECT}]
variables = ["SERVICE_TOKEN"]
[secrets.other]
source = {{ file = "{OTHER_FILE}" }}
inject = [{{ host = "{EVIL}", header = "authorization" }}]
variables = ["OTHER_TOKEN"]
"""
MISUSE, LEAK = "secret-misuse", "secret-leak"
OURS = (MISUSE, LEAK)

SCRIPT = (
    PRELUDE
    + rf"""
import base64, gzip, json, zlib
from urllib.parse import quote
QUIET = 20  # seconds; an answer that comes late is no other
TOKEN = os.environ["SERVICE_TOKEN"]
try:
    OTHER = os.environ.get("OTHER_TOKEN") or open("{OTHER_FILE}").read()
except OSError:
    OTHER = TOKEN
BEARER = "Authorization: Bearer " + TOKEN + "\r\n"

def whole(method="GET", path="/ok/" + MARK, host=GOOD, more="", body=None, last=True):
    # One request as bytes.
    length = "" if body is None else f"Content-Length: {{len(body)}}\r\n"
    end = "Connection: close\r\n" if last else ""
    return f"{{method}} {{path}} HTTP/1.1\r\nHost: {{host}}\r\n{{more}}{{length}}{{end}}\r\n".encode() + (body or b"")

def https(data, host=GOOD, port=443):
    return tell(secure(direct(host, port), host), data)

def http(data, host=GOOD, port=80):
    return tell(direct(host, port), data)

def mixed(text):
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()

def chunks(*parts, more=""):
    framed = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    return framed + b"0\r\n" + more.encode() + b"\r\n"
"""
)


def two_tokens(arena: Arena) -> None:
    """The second secret's file."""
    arena.values["other"] = "other-" + os.urandom(16).hex()
    arena.write(OTHER_FILE, arena.values["other"])


def out(arena: Arena, ran: Ran) -> bool:
    """Evidence that a marked request arrived, or that a value did anywhere but where it is meant to be put in."""
    found = entries(arena)
    marked = any(arena.values["mark"] in json.dumps(entry) for entry in found)
    return marked or (ran.confined and any(value_arrived(arena, entry) for entry in found))


def value_arrived(arena: Arena, entry: Entry) -> bool:
    """Whether a value arrived in `entry` although nothing puts it there."""
    text = json.dumps(entry)
    meant = entry["kind"] == "http" and entry["host"] == GOOD and entry["path"].startswith("/ok/")
    return arena.values["other"] in text or (arena.canary in text and not (meant and entry["scheme"] == "https"))


def header(entry: Entry, name: str) -> str:
    """The value of a header that arrived, empty without one."""
    return next((value for key, value in entry["headers"] if key.lower() == name), "")


def out_to_the_other(arena: Arena, ran: Ran) -> bool:
    """Evidence that a marked request arrived at EVIL."""
    heads = [entry for entry in entries(arena) if entry["kind"] == "http" and entry["host"] == EVIL]
    return any(arena.values["mark"] in entry["path"] for entry in heads)


def out_in_a_body(arena: Arena, ran: Ran) -> bool:
    """Evidence that a marked body arrived whole; what carried it may have begun to."""
    return any(entry["kind"] == "body" and arena.values["mark"] in entry["text"] for entry in entries(arena))


def misuse(
    name: str, body: str, *, code: str = MISUSE, evidence: Evidence = out, policy: str = "", tainted: bool = True
) -> Attack:
    """A placeholder where it must not be: `body` follows SCRIPT; the run is tainted where anybody saw it."""
    return Attack(
        name=name,
        script=SCRIPT + body,
        evidence=evidence,
        code=code,
        tainted=tainted,
        policy=policy or NETWORK + SECRETS,
        prepare=two_tokens,
    )


def unkept(attack: Attack) -> Attack:
    """The same attack where policy knows no secrets and the variable is passed."""
    policy = re.sub(r"(?ms)^\[(secrets\.|leaks).*", "", attack.policy)
    return dataclasses.replace(attack, policy=policy, options=("--env", "SERVICE_TOKEN"))


def carry_out(attack: Attack, lab: Lab) -> None:
    """Carry out an attack in all three ways; within a boundary alone where the rules of egress stop it anyway."""
    if attack.code in OURS:
        with Arena.open(attack.prepare, lab) as arena:
            ran = arena.confined(unkept(attack))
            assert ran.achieved, f"the attack fails where nothing is kept: {ran.status}\n{ran.output[-2000:]}"
    check(attack, root=os.geteuid() == 0, lab=lab)


def _unpacked(data: bytes) -> list[bytes]:
    found = []
    for unpack in (
        gzip.decompress,
        zlib.decompress,
        lambda packed: zlib.decompress(packed, -15),
        lambda packed: zlib.decompressobj(-15).decompress(packed[10:]),  # gzip, whatever its sum, or cut short
        lambda packed: zlib.decompressobj(zdict=DICTIONARY).decompress(packed),
    ):
        try:
            found.append(unpack(data))
        except (OSError, EOFError, zlib.error):
            continue
    return found


def _charsets(data: bytes) -> list[bytes]:
    """What a program makes of a text in a charset that the host names."""
    found = []
    for charset in ("utf-7", "cp500", "utf-16-le", "utf-16-be"):
        for at in range(3):
            text = data[at:].decode(charset, "ignore")
            found.append(text.encode("latin-1", "ignore"))
    return found


def _rarer(data: bytes) -> list[bytes]:
    """The alphabets of which nobody thinks first."""
    found = [re.sub(rb"\b[01]{8}\b ?", lambda one: bytes([int(one[0], 2)]), data)]
    for word in re.findall(rb"[!-~]{16,}", data):
        for decode in (base64.b85decode, base64.a85decode):
            for text in (word, word.strip(b".")):
                try:
                    found.append(decode(text))
                except ValueError:
                    continue
    for line in data.split(b"\n"):
        try:
            found.append(binascii.a2b_uu(line + b"\n"))
        except ValueError:
            continue
    return found


def _letters(data: bytes) -> list[bytes]:
    """What the runs of letters in `data` may stand for in the usual alphabets, at every alignment."""
    found = []
    for word in re.findall(rb"[A-Za-z0-9+/_-]{16,}", data.replace(b"\n", b"")):
        text = word.translate(bytes.maketrans(b"-_", b"+/"))
        for at in range(4):
            piece = text[at:]
            found.append(base64.b64decode(piece[: len(piece) // 4 * 4]))
            found.append(base64.b64decode(piece + b"A" * (-len(piece) % 4)))
    found += [bytes.fromhex(word.decode()) for word in re.findall(rb"(?:[0-9a-fA-F]{2}){8,}", data)]
    found += [
        base64.b32decode(word + b"=" * (-len(word) % 8))
        for word in re.findall(rb"[A-Z2-7]{24,}", data)
        if len(word) % 8 not in (1, 3, 6)
    ]
    return found


READINGS: tuple[Callable[[bytes], list[bytes]], ...] = (
    # The second: what stands before the rest of a WebSocket message, its opcode and its length.
    lambda data: [
        data[::-1],
        re.sub(rb"\x80[\x01-\x7d]", b"", data),
        data.replace(b"\0", b""),
        data.replace(b" ", b""),
        data.replace(b" and ", b""),
        data.replace(b"\\/", b"/"),
        data.replace(b'", "', b""),
        re.sub(rb"=?\r?\n ?", b"", data),
        data.swapcase(),
    ],
    lambda data: [urllib.parse.unquote_to_bytes(data)] if b"%" in data else [],
    lambda data: [html.unescape(data.decode("latin-1")).encode("latin-1", "replace")] if b"&" in data else [],
    lambda data: [re.sub(rb"\\u00([0-9a-fA-F]{2})", lambda found: bytes.fromhex(found[1].decode()), data)],
    lambda data: [codecs.encode(data.decode("latin-1"), "rot13").encode("latin-1")],
    _letters,
    _rarer,
    _charsets,
    lambda data: [quopri.decodestring(data)],
    _unpacked,
)


def reveals(data: bytes, value: str, *, depth: int = 2) -> bool:
    """Whether somebody who tries every usual reading of some bytes, and of what it gives, comes upon a value."""
    if value.encode() in data:
        return True
    again = [found for reading in READINGS for found in reading(data) if found and found != data] if depth else []
    return any(reveals(found, value, depth=depth - 1) for found in again)


def bodies(data: bytes) -> list[bytes]:
    """What the bytes of one answer hold: all of it, and its body without chunks."""
    head, _, body = data.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 103"):
        body = body.partition(b"\r\n\r\n")[2]
    plain = b"".join(re.findall(rb"(?s)[0-9a-f]+\r\n(.*?)\r\n(?=[0-9a-f]+\r\n)", body))
    return [data, body, *([unchunked(body)] if b"chunked" in head.lower() else []), plain]


def unchunked(body: bytes) -> bytes:
    """The content of a chunked body, as far as it has come."""
    found = b""
    while size := int(body.partition(b"\r\n")[0].partition(b";")[0] or b"0", 16):
        found, body = found + body.partition(b"\r\n")[2][:size], body.partition(b"\r\n")[2][size + 2 :]
    return found
