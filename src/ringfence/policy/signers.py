"""Whose signatures count: public keys of SSH, alone or in files as ssh-keygen(1) has them (ALLOWED SIGNERS).

    line    = [ principals ] [ options ] type SP base64 [ SP comment ]           or a comment, or empty
    options = 'namespaces="git,..."', 'valid-after="TIME"', 'valid-before="TIME"'
    TIME    = YYYYMMDD[HHMM[SS]][Z]        read as UTC with and without the Z

A line with another option does not say who may sign as this module could tell, so it is an error.
"""

import base64
import binascii
import re
from datetime import UTC, datetime

from ringfence.model.git import Signer

KINDS = ("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521")
_KINDS = "|".join(KINDS)
_LINE = re.compile(
    rf'(?:(?!(?:{_KINDS}) )[^\s"=]+ +)?(?P<options>.*?)\b(?P<kind>{_KINDS}) (?P<key>[A-Za-z0-9+/]+={{0,2}})(?: .*)?'
)
_OPTION = re.compile(r'(namespaces|valid-after|valid-before)="([^"]*)"', re.IGNORECASE)
_TIMES = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}


def is_path(entry: str) -> bool:
    """Tell whether an entry of policy names a file of keys, and is none itself."""
    return entry.startswith(("/", "~/"))


def read_signers(text: str) -> tuple[Signer, ...]:
    """Read keys, one a line; raise ValueError with the reason."""
    lines = (line.strip() for line in text.splitlines())
    found = [_signer(line) for line in lines if line and not line.startswith("#")]
    return tuple(one for one in found if one is not None)


def _signer(line: str) -> Signer | None:
    """Read one line; None for a key that may not sign for git."""
    found = _LINE.fullmatch(line)
    if found is None or not _is_key(found["kind"], found["key"]):
        raise ValueError(f"no public key of {', '.join(KINDS)}")
    options = {name.lower(): value for name, value in _OPTION.findall(found["options"])}
    if _OPTION.sub("", found["options"]).strip(", "):
        raise ValueError("an option other than `namespaces`, `valid-after` and `valid-before`")
    if "git" not in options.get("namespaces", "git").split(","):
        return None
    after, before = (_time(options.get(name, "")) for name in ("valid-after", "valid-before"))
    return Signer(key=f"{found['kind']} {found['key']}", after=after, before=before)


def _is_key(kind: str, text: str) -> bool:
    try:
        blob = base64.b64decode(text, validate=True)
    except binascii.Error:
        return False
    return blob.startswith(len(kind).to_bytes(4, "big") + kind.encode() + b"\0")


def _time(text: str) -> int:
    digits = text.removesuffix("Z")
    if not text:
        return 0
    if len(digits) not in _TIMES:
        raise ValueError("a time that is not written as `YYYYMMDD`")
    return int(datetime.strptime(digits, _TIMES[len(digits)]).replace(tzinfo=UTC).timestamp())
