"""Who is known to the lab's servers: the credentials that they accept, and what came of each.

A test adds its own in `accounts.json` of the lab's directory: `{"tokens": {VALUE: [SCOPE...]}, "keys": {ID: SECRET}}`.
None of these is anybody's; they are put together here so that no scanner takes them for somebody's.
"""

import base64
import json
from pathlib import Path

from tests.integration.lab.http1 import Request

ACCOUNTS = "accounts.json"
GITHUB_TOKEN = "gh" + "p_" + "Lab0Lab1Lab2Lab3Lab4Lab5Lab6Lab7Lab8"
NARROW_TOKEN = "gh" + "p_" + "Nar0Nar1Nar2Nar3Nar4Nar5Nar6Nar7Nar8"
PYPI_TOKEN = "pypi-" + "AgEIcHlwaS5vcmcCJGxhYmxhYmxhYmxhYmxhYmxhYmxhYmxhYmxhYmxhYmxhYg"
NPM_TOKEN = "npm" + "_" + "Npm0Npm1Npm2Npm3Npm4Npm5Npm6Npm7Npm8"
REFRESH_TOKEN = "lab-refresh-" + "9f8e7d6c5b4a39281706f5e4d3c2b1a0"
AWS_KEY_ID = "AKIA" + "LABLABLABLABLAB7"
AWS_SECRET = "Lab/Secret+Access" + "Key0123456789abcdefghij"

SCOPES = {
    GITHUB_TOKEN: ("repo", "workflow"),
    NARROW_TOKEN: ("repo",),
    PYPI_TOKEN: (),
    NPM_TOKEN: (),
}


class Accounts:
    """Everything that is accepted; tokens that a server has issued are added to it."""

    def __init__(self, place: Path) -> None:
        self._file = place / ACCOUNTS
        self.issued: dict[str, tuple[str, ...]] = {}

    def _more(self, kind: str) -> dict[str, object]:
        try:
            found: dict[str, dict[str, object]] = json.loads(self._file.read_text())
        except FileNotFoundError:
            return {}
        return found.get(kind, {})

    def scopes(self, token: str) -> tuple[str, ...] | None:
        """Give what a token may do; None for one that nobody knows."""
        known: dict[str, object] = {**SCOPES, **self.issued, **self._more("tokens")}
        found = known.get(token)
        return None if not isinstance(found, list | tuple) else tuple(str(one) for one in found)

    def secret_key(self, key_id: str) -> str:
        """Give the secret access key of an identifier, empty for one that nobody knows."""
        return str(({AWS_KEY_ID: AWS_SECRET} | self._more("keys")).get(key_id, ""))


def shown(request: Request, header: str = "authorization") -> str:
    """Give the credential of a request, without its scheme; of `Basic` the password."""
    value = request.header(header)
    scheme, _, rest = value.partition(" ")
    if scheme.lower() == "basic":
        return base64.b64decode(rest).decode("latin-1").partition(":")[2]
    return rest if scheme.lower() in ("bearer", "token") else value
