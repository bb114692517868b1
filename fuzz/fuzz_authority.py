"""Fuzz target: authorities, targets and paths of requests (network/authority.py). How to run it: mutation.py."""

import urllib.parse

from mutation import run

from ringfence.network.authority import Origin, canonical_path, parse_authority, request_target
from ringfence.network.malformed import Malformed
from ringfence.policy.hosts import bracketed
from ringfence.policy.urls import resolved

SEEDS = (
    b"example.com", b"EXAMPLE.com.:8080", b"[2001:db8::1]:443", b"192.0.2.7:80", b"xn--bcher-kva.example",
    b"_a.b-c.test", b"/", b"/a/b.c/d?e=f&g", b"/%7Eu/%C3%A9%20;v=1", b"/@scope%2fname", b"/compare/main...dev",
    b"http://example.com/a?b", b"https://example.com:8443", b"http://[::1]?q", b"*",
)  # fmt: skip


def one_input(data: bytes) -> None:
    """Check what must hold of any input, read as an authority, a path and a target."""
    for check in (check_authority, check_path, check_target):
        try:
            check(data)
        except Malformed:
            pass


def check_authority(data: bytes) -> None:
    """Hold an authority that is accepted against its own canonical form and against urllib's reading."""
    host, port = parse_authority(data, default_port=80)
    written = f"{bracketed(host)}:{port}"
    assert parse_authority(written, default_port=None) == (host, port)
    parts = urllib.parse.urlsplit(f"http://{data.decode('ascii')}")
    assert (parts.hostname or "").removesuffix(".") == host or ":" in host
    assert (parts.port or 80, parts.path, parts.username) == (port, "", None)


def check_path(data: bytes) -> None:
    """Hold a path that is accepted against its own canonical form and against the most generous reading."""
    path, query = canonical_path(data, encoded_slash=True)
    assert canonical_path(path.encode(), encoded_slash=True) == (path, "")
    assert urllib.parse.unquote_to_bytes(path) == urllib.parse.unquote_to_bytes(data.partition(b"?")[0])
    assert query.encode() == data.partition(b"?")[2]
    read = resolved(path)
    assert read in (path, path.replace("%2F", "/")) or ";" in path
    assert "//" not in read and "/../" not in f"{read}/" and "/./" not in f"{read}/"
    assert read.count("/") == path.replace("%2F", "/").count("/")


def check_target(data: bytes) -> None:
    """Hold what a target says against what the same target says when it is written anew."""
    method = b"OPTIONS" if data.startswith(b"*") else b"GET"
    origin = Origin("http", "example.com", 80)
    try:
        target = request_target(method, data, None, origin=None)
    except Malformed:
        target = request_target(method, data, b"example.com", origin=origin)
        assert (target.scheme, target.host, target.port) == ("http", "example.com", 80)
    named = Origin(target.scheme, target.host, target.port)
    assert request_target(method, target.wire, target.authority, origin=named) == target


if __name__ == "__main__":
    run(one_input, SEEDS)
