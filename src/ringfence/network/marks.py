"""Placeholders of secrets, recognised in requests that do not go on: whoever sends one where none may be is noticed.

They are no secret: the vault (session/vault_worker.py) has made them to stand inside for values that never enter.
"""

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

_BASIC = re.compile(rb"(?i)\bbasic +([A-Za-z0-9+/_-]{8,}={0,2})")


class Marks:
    """The placeholders of a run, each with its secret's name."""

    def __init__(self, placeholders: dict[str, str]) -> None:
        self._texts = {text.lower().encode(): name for name, text in placeholders.items() if text}
        self._pattern = re.compile(b"|".join(re.escape(text) for text in sorted(self._texts, key=len, reverse=True)))

    def find(self, data: bytes) -> str:
        """Give the name of a secret whose placeholder is in `data`, empty where none is.

        Also in percent-encoding, within the Base64 of `Basic`, and where a name or a scheme has lost its capitals.
        """
        if not self._texts:
            return ""
        for reading in (data, unquote_to_bytes(data), *(_decoded(match[1]) for match in _BASIC.finditer(data))):
            if found := self._pattern.search(reading.lower()):
                return self._texts[found[0]]
        return ""


def _decoded(text: bytes) -> bytes:
    try:
        return base64.urlsafe_b64decode(text.replace(b"+", b"-").replace(b"/", b"_").rstrip(b"=") + b"==")
    except binascii.Error:
        return b""
