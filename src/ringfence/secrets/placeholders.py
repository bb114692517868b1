"""What stands for a value inside: text that clients take for the real thing, and that says nothing about it.

The shape is kept: length, a prefix that issuers give their tokens (`ghp_`), the class of each character (digit, capital
or small letter), and everything that is neither letter nor digit. The rest is random. A JWT keeps its header and its
claims, so that clients can read them, but for `jti`; its signature is random.

Because classes are kept, a placeholder takes exactly as many bytes as its value in every encoding (encodings.py), so
replacing the one by the other changes no length. (The one exception, decimal character references, is masked there.)

INVARIANT: no run of `TELLING` letters and digits beyond the prefix is one of the value
(tests/unit/secrets/test_placeholders.py).
"""

import base64
import binascii
import os
import re
import string
from collections.abc import Callable, Container

import msgspec

from .value import FEWEST_BYTES

TELLING = 6
_ATTEMPTS = 100
_PREFIXES = (
    "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_ glpat- gldt- glrt- sk-ant-api03- sk-ant-oat01- sk-ant-ort01- sk-ant- "
    "sk-proj- sk-svcacct- sk- xoxb- xoxp- xoxa- xoxs- xapp- AKIA ASIA AIza ya29. npm_ pypi-AgEIcHlwaS5vcmc hf_ SG. "
    "dop_v1_ sk_live_ sk_test_ rk_live_ rk_test_ whsec_ shpat_ hvs. dckr_pat_ glc_ lin_api_ r8_ gsk_ xai- pplx- "
).split()
_JWT = re.compile(rb"(eyJ[A-Za-z0-9_-]+)\.(eyJ[A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{16,})")
_JTI = re.compile(rb'("jti"\s*:\s*")([^"\\]*)(")')
_PEM_LINE = re.compile(rb"-----(?:BEGIN|END) [A-Z0-9 ]+-----")
_CLASSES = tuple(characters.encode() for characters in (string.digits, string.ascii_uppercase, string.ascii_lowercase))
_CLASS_OF = {byte: members for members in _CLASSES for byte in members}
_UNRESERVED = frozenset(b"".join(_CLASSES) + b"-._~")
_SECRET = re.compile(rb"[A-Za-z0-9]")


class UnfitError(ValueError):
    """A value that nothing can stand for: why, and what to do about it. Neither text says anything of the value."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


def placeholder(value: bytes, taken: Container[bytes] = (), entropy: Callable[[int], bytes] = os.urandom) -> bytes:
    """Return what shall stand for `value`, none of `taken`; raise UnfitError for what looks like any text."""
    own = _own(value)
    if len(_SECRET.findall(own)) < FEWEST_BYTES:
        raise UnfitError(
            f"it cannot be told from other text: it has fewer than {FEWEST_BYTES} letters and digits of its own "
            "(what every such token begins with does not count)",
            "use a longer one; what the inside may know is no secret: take it back (`enabled = false`, or without "
            "`--secret`) and pass the variable (`--env NAME`)",
        )
    for _ in range(_ATTEMPTS):
        made = _shaped(value, entropy)
        if made not in taken and made != value and not _tells(_own(made), own):
            return made
    raise UnfitError(
        "there are too few texts of its shape to make another one", "use a secret with more letters and digits"
    )


def alike(value: bytes, stand_in: bytes) -> bool:
    """Tell whether a placeholder takes as many bytes as a value in every encoding (but decimal ones)."""
    return len(value) == len(stand_in) and all(
        a == b or (a in _UNRESERVED and b in _UNRESERVED) for a, b in zip(value, stand_in, strict=True)
    )


def parts(value: bytes, stand_in: bytes) -> list[tuple[bytes, bytes]]:
    """Pair what of a value is searched for with what replaces it: the value, and what in it is secret by itself.

    That is the signature of a JWT, and the lines of a PEM text, which is written with many kinds of line ends.
    """
    jwt = _JWT.fullmatch(value)
    if jwt is not None:
        at = jwt.start(3)
        return [(value, stand_in), (value[at:], stand_in[at:])]
    if not _PEM_LINE.search(value):
        return [(value, stand_in)]
    spans = [found.span() for found in re.finditer(rb"[^\r\n]+", value)]
    return [(value[a:b], stand_in[a:b]) for a, b in _joined(spans, value) if b - a >= FEWEST_BYTES]


def _joined(spans: list[tuple[int, int]], value: bytes) -> list[tuple[int, int]]:
    """Take the lines of a PEM text but its first and last, a short one together with the line before it."""
    kept: list[tuple[int, int]] = []
    for start, end in spans:
        if _PEM_LINE.fullmatch(value[start:end]):
            continue
        if kept and end - start < 2 * FEWEST_BYTES:
            kept[-1] = (kept[-1][0], end)
        else:
            kept.append((start, end))
    return kept


def _prefix(value: bytes) -> bytes:
    fitting = [known.encode() for known in _PREFIXES if value.startswith(known.encode())]
    return max(fitting, key=len, default=b"")


def _shaped(value: bytes, entropy: Callable[[int], bytes]) -> bytes:
    jwt = _JWT.fullmatch(value)
    if jwt is not None:
        return b".".join((jwt[1], _claims(jwt[2], entropy), _random(jwt[3], entropy)))
    prefix = _prefix(value)
    rest = value[len(prefix) :]
    made = bytearray(_random(rest, entropy))
    for line in _PEM_LINE.finditer(rest):
        made[line.start() : line.end()] = line[0]
    return prefix + bytes(made)


def _claims(segment: bytes, entropy: Callable[[int], bytes]) -> bytes:
    """Write the claims of a JWT with another `jti` of the same shape; as they are where they have none."""
    try:
        claims = base64.urlsafe_b64decode(segment + b"=" * (-len(segment) % 4))
        msgspec.json.decode(claims)
    except (binascii.Error, msgspec.DecodeError):
        return segment
    changed = _JTI.sub(lambda found: found[1] + _random(found[2], entropy) + found[3], claims)
    return base64.urlsafe_b64encode(changed).rstrip(b"=")


def _random(text: bytes, entropy: Callable[[int], bytes]) -> bytes:
    """Replace each letter and digit by a random one of its class."""
    made = bytearray(text)
    noise = iter(entropy(4 * len(text)))
    for at, byte in enumerate(text):
        members = _CLASS_OF.get(byte)
        if members is not None:
            drawn = int.from_bytes(bytes(next(noise) for _ in range(4)), "big")
            made[at] = members[drawn % len(members)]
    return bytes(made)


def _own(text: bytes) -> bytes:
    """Return what of a value is secret: no prefix, no first and last line, of a JWT the signature."""
    jwt = _JWT.fullmatch(text)
    return jwt[3] if jwt is not None else _PEM_LINE.sub(b"", text[len(_prefix(text)) :])


def _tells(made: bytes, own: bytes) -> bool:
    """Tell whether a random text has a run of letters and digits of the value's own."""
    runs = (own[at : at + TELLING] for at in range(len(own) - TELLING + 1))
    return any(run in made and len(_SECRET.findall(run)) == TELLING for run in runs)
