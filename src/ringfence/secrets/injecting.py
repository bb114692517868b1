"""Puts values where an injection says, and nowhere else.

Theory of operation. Each function takes a part of a request and a table of what replaces what, and returns the part
with the placeholders replaced that stand in a named place. Called with values it makes what goes upstream; called with
masks it makes what is left when the rightful placeholders are taken away: what is still found then is misused
(sending.py).
SECURITY: a place is decided by reading the message as the server will (header, parameter, field); text that reads as
something else is left alone, and its placeholder stops the request.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from urllib.parse import quote, unquote_to_bytes

import msgspec

from ringfence.model.passage import Destination, Outgoing
from ringfence.model.secrets import Capture, Injection
from ringfence.policy import urls
from ringfence.policy.hosts import matches

Table = Mapping[bytes, bytes]
"""What replaces each placeholder; equally long."""

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"')


def reaches(rule: Injection | Capture, destination: Destination) -> bool:
    """Tell whether a rule speaks of requests to `destination`, which must be reached by TLS."""
    return (
        destination.scheme == "https"
        and matches(rule.host, destination.host)
        and any(low <= destination.port <= high for low, high in rule.ports)
    )


def applies(rule: Injection, destination: Destination, request: Outgoing) -> bool:
    """Tell whether each condition of an injection holds for a request."""
    return (
        reaches(rule, destination)
        and (not rule.methods or request.method.decode("ascii") in rule.methods)
        and (not rule.paths or urls.allows(rule.paths, path_of(request)))
    )


def path_of(request: Outgoing) -> str:
    """Return the path of a target in origin-form, without its query."""
    return request.target.partition(b"?")[0].decode("ascii", "replace")


def swapped(text: bytes, table: Table) -> bytes:
    """Replace what stands in `text` as it is."""
    for placeholder, value in table.items():
        text = text.replace(placeholder, value)
    return text


def in_header(value: bytes, table: Table) -> bytes:
    """Replace in the value of a header; in that of `Basic` (RFC 7617) within the Base64."""
    scheme, space, encoded = value.partition(b" ")
    if space and scheme.lower() == b"basic":
        letters = encoded.strip()
        try:
            plain = base64.b64decode(letters + b"=" * (-len(letters) % 4), validate=True)
        except binascii.Error:
            plain = b""
        changed = swapped(plain, table)
        if changed != plain:
            return scheme + b" " + base64.b64encode(changed)
    return swapped(value, table)


def in_query(target: bytes, name: str, table: Table) -> bytes:
    """Replace in the parameters called `name` of a target's query."""
    path, mark, query = target.partition(b"?")
    return path + mark + in_form(query, name, table) if mark else target


def in_form(text: bytes, name: str, table: Table) -> bytes:
    """Replace in the values of the fields called `name` of a query or form."""
    pairs = text.split(b"&")
    for at, pair in enumerate(pairs):
        key, sign, value = pair.partition(b"=")
        if sign and unquote_to_bytes(key.replace(b"+", b" ")) == name.encode():
            plain = unquote_to_bytes(value.replace(b"+", b" "))
            changed = swapped(plain, table)
            if changed != plain:
                pairs[at] = key + sign + quote(changed, safe="").encode()
    return b"&".join(pairs)


def in_json(text: bytes, name: str, table: Table) -> bytes:
    """Replace in the field `name` (`a.b` within objects) of JSON, where each placeholder occurs once in all.

    The text is changed and not written anew, so that numbers stay as the client wrote them. A string may be written in
    many ways, with escapes that the client chooses: each is read, and the one with the placeholder is written anew.
    """
    for placeholder, value in table.items():
        before = _read(text, name)
        if before.count(placeholder) != 1:
            continue
        found = [one for one in _STRING.finditer(text) if placeholder in _unquoted(one.group())]
        # Once, and there: it could stand in another field as well.
        if len(found) == 1:
            after = _unquoted(found[0].group()).replace(placeholder, value)
            changed = text[: found[0].start()] + _quoted(after) + text[found[0].end() :]
            if _read(changed, name) == before.replace(placeholder, value):
                text = changed
    return text


def _read(text: bytes, name: str) -> bytes:
    """Return the text of a field of JSON, empty where it has none or is no JSON."""
    try:
        found = field(msgspec.json.decode(text), name)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return b""
    return found.encode("utf-8", "surrogatepass") if isinstance(found, str) else b""


def field(document: object, name: str) -> object:
    """Return the member of nested objects that `a.b` names, None where there is none."""
    for part in name.split("."):
        if not isinstance(document, dict):
            return None
        document = document.get(part)
    return document


def _unquoted(text: bytes) -> bytes:
    """Read a string as it stands in JSON; nothing where it is none."""
    if b"\\" not in text:
        return text[1:-1]
    try:
        return msgspec.json.decode(text, type=str).encode()
    except (msgspec.DecodeError, UnicodeError):
        return b""


def _quoted(value: bytes) -> bytes:
    """Write a text as a string of JSON; what is no text is left as it is, and makes no JSON."""
    try:
        return msgspec.json.encode(value.decode())
    except UnicodeDecodeError:
        return value
