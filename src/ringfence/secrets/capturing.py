"""Takes the values out of an answer that brings new ones (OAuth, RFC 6749 section 5.1) and keeps them.

The answer's JSON is read; each field that policy names is kept as a value of its secret, and what stands for it takes
its place wherever it stands in the answer. Everything else of the answer stays as the host wrote it.
"""

from collections.abc import Mapping

import msgspec

from ringfence.model.passage import Noted, Stopped

from .holdings import Holdings, Place
from .injecting import field
from .placeholders import UnfitError

UNREADABLE = "unreadable-answer"
_LONGEST = 32 << 10  # characters


def capture(holdings: Holdings, body: bytes, fields: Mapping[str, str]) -> dict[str, str] | Stopped:
    """Keep the values of an answer and return their placeholders by the names of their secrets.

    A field that is not there brings nothing; one that cannot be kept stops the answer.
    """
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Stopped(UNREADABLE, "it should bring values, and is no JSON")
    minted: dict[str, str] = {}
    for path, name in fields.items():
        found = field(document, path)
        if found is None:
            continue
        if not isinstance(found, str) or len(found) > _LONGEST:
            return Stopped(UNREADABLE, f"its field `{path}` is no text, or a long one", name)
        try:
            minted[name] = holdings.keep(name, found.encode(), place=Place.ANSWER).decode("utf-8", "surrogateescape")
        except (UnfitError, UnicodeEncodeError):
            return Stopped(UNREADABLE, f"its field `{path}` brings a value that nothing can stand for", name)
    return minted


def notes(minted: Mapping[str, str]) -> list[Noted]:
    """Return what is recorded of captured values."""
    return [Noted("captured", name) for name in minted]
