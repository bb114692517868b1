"""Placeholders of secrets, recognised in requests that do not go on: whoever sends one where none may be is noticed.

They are no secret: the vault (session/vault_worker.py) has made them to stand inside for values that never enter.
"""

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

_HTTP2 = b"PRI * HTTP/2.0"
_BASIC = re.compile(rb"(?i)\bbasic +([A-Za-z0-9+/_-]{8,}={0,2})")


class Marks:
    """The placeholders of a run, each with its secret's name."""

    def __init__(self, placeholders: dict[str, str]) -> None:
        self._texts = {text.lower().encode(): name for name, text in placeholders.items() if text}
        self._pattern = re.compile(b"|".join(re.escape(text) for text in sorted(self._texts, key=len, reverse=True)))

    def __bool__(self) -> bool:
        """Tell whether there are any."""
        return bool(self._texts)

    def find(self, data: bytes) -> str:
        """Give the name of a secret whose placeholder is in `data`, empty where none is.

        Also in percent-encoding, within the Base64 of `Basic`, in the fields of HTTP/2, and where a name or a scheme
        has lost its capitals.
        """
        if not self._texts:
            return ""
        data += _http2(data) if data.startswith(_HTTP2) else b""
        for reading in (data, unquote_to_bytes(data), *(_decoded(match[1]) for match in _BASIC.finditer(data))):
            if found := self._pattern.search(reading.lower()):
                return self._texts[found[0]]
        return ""


def _decoded(text: bytes) -> bytes:
    try:
        return base64.urlsafe_b64decode(text.replace(b"+", b"-").replace(b"/", b"_").rstrip(b"=") + b"==")
    except binascii.Error:
        return b""


def _http2(data: bytes) -> bytes:
    """Read what a client of HTTP/2 begins with, which is compressed (RFC 7541)."""
    from h2.config import H2Configuration  # the proxy has loaded all of it (tls.prepare), and nobody else has a need
    from h2.connection import H2Connection
    from h2.events import DataReceived, RequestReceived
    from h2.exceptions import ProtocolError

    reader = H2Connection(H2Configuration(client_side=False, header_encoding=None))
    try:
        events = reader.receive_data(data)
    except ProtocolError:
        return b""
    fields = [b": ".join(field) for event in events if isinstance(event, RequestReceived) for field in event.headers]
    bodies = [event.data for event in events if isinstance(event, DataReceived)]
    return b"\n" + b"\n".join((*fields, *bodies))
