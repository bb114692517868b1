"""Which hosts a `WebFetch(domain:...)` rule means, and which host a URL leads to.

Only the host counts, compared in lower case and without a dot at its end: not the port, the path or what stands before
an `@`. `*.example.com` is any name below it, but not itself; any other `*` stands for one label.

The URL is split as browsers do (WHATWG URL, "special" schemes): a backslash is a slash, and a name that is not plain
ASCII or holds an escape is no name that a rule can be about.
"""

import ipaddress
import re
from functools import lru_cache

from .documentation_hosts import DOCUMENTATION, DOCUMENTATION_PATHS

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_PATTERN = re.compile(r"(?:[a-z0-9_*-]+)(?:\.[a-z0-9_*-]+)*")


@lru_cache(maxsize=1024)
def host_pattern(what: str) -> re.Pattern[str]:
    """Compile `domain:HOST`; raise ValueError, in words, for anything else."""
    kind, _, host = what.partition(":")
    host = host.strip().lower().rstrip(".")
    if kind != "domain":
        raise ValueError("does not say `domain:`")
    if not _PATTERN.fullmatch(host):
        raise ValueError("names no host")
    if host == "*":
        return re.compile(".*")
    if host.startswith("*."):
        return re.compile(rf"(?:[^.]+\.)+{_labels(host[2:])}")
    return re.compile(_labels(host))


def _labels(host: str) -> str:
    return re.escape(host).replace(r"\*", r"[^.]*")


def host_of(url: str) -> str:
    """Return the host that `url` leads to, empty where it is not certain."""
    match = re.fullmatch(r"\s*https?:[/\\]{2}([^/\\?#\s]*)(?:[/\\?#].*)?", url, re.S | re.I)
    if match is None or any(ord(character) < 32 for character in url):
        return ""
    authority = match[1].rpartition("@")[2]
    host = re.sub(r":\d*$", "", authority).lower().removesuffix(".")
    return host if _HOST.fullmatch(host) and not _is_odd_address(host) else ""


def is_documentation(url: str) -> bool:
    """Tell whether `url` is public documentation that is fetched without asking."""
    match = re.fullmatch(r"https?://([a-z0-9.-]+)(?::\d+)?(/[^\s\\]*)?", url, re.I)
    if match is None:
        return False
    host, path = match[1].lower(), match[2] or "/"
    if host in DOCUMENTATION:
        return True
    start = DOCUMENTATION_PATHS.get(host)
    return start is not None and ".." not in path and "%" not in path and f"{path}/".startswith(f"{start}/")


def _is_odd_address(host: str) -> bool:
    """Tell whether `host` is an address in another notation than four decimal numbers."""
    if not re.fullmatch(r"(?:0x[0-9a-f]*|\d+)(?:\.(?:0x[0-9a-f]*|\d+))*", host):
        return False
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return True
    return False
