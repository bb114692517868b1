"""One host of a preset, and the short forms in which presets are written."""

import msgspec


class PresetHost(msgspec.Struct, frozen=True):
    """One host of a preset; `verdict` is `allow` or `deny`. Without methods or paths it means every request."""

    host: str
    reason: str
    verdict: str = "allow"
    methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    ports: tuple[int | str, ...] = (443,)


def read(reason: str, *hosts: str, paths: tuple[str, ...] = ()) -> tuple[PresetHost, ...]:
    """Allow reading at each of `hosts`."""
    return tuple(PresetHost(host, reason, methods=("GET", "HEAD"), paths=paths) for host in hosts)


def post(reason: str, host: str, *paths: str) -> PresetHost:
    """Allow sending to `paths`."""
    return PresetHost(host, reason, methods=("POST",), paths=paths)


def deny(reason: str, host: str, *paths: str, methods: tuple[str, ...] = ()) -> PresetHost:
    """Deny, on every port; without paths and methods everything."""
    return PresetHost(host, reason, verdict="deny", methods=methods, paths=paths, ports=("1-65535",))


WRITES = ("POST", "PUT", "PATCH", "DELETE")
"""All of them, wherever one is meant: some servers take one for another on the word of a header."""
