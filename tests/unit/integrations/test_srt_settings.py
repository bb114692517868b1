"""What a settings file may say, and what is refused before anything runs."""

import json
from typing import Any

import pytest

from ringfence.integrations.srt_settings import EMPTY, PathEntry, SettingsError, is_domain, load, parse, spelled

GOOD: dict[str, Any] = {
    "network": {"allowedDomains": [], "deniedDomains": []},
    "filesystem": {"denyRead": [], "allowWrite": ["."], "denyWrite": []},
}


def with_key(path: str, value: object) -> bytes:
    """Give good settings with one key set, by its dotted path."""
    found = json.loads(json.dumps(GOOD))
    *tables, last = path.split(".")
    place = found
    for name in tables:
        place = place.setdefault(name, {})
    place[last] = value
    return json.dumps(found).encode()


def refusal(data: bytes) -> str:
    with pytest.raises(SettingsError) as caught:
        parse(data, "s.json")
    assert caught.value.exit_status == 1
    assert caught.value.place == "s.json"
    return caught.value.message


def test_good_settings_are_read() -> None:
    assert parse(json.dumps(GOOD).encode(), "s.json").filesystem.allow_write == (".",)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("network.allowedDomains", ["a.com", "*.a.com:8443", "[::1]:443", "localhost:80", "1.2.3.4"]),
        ("network.deniedDomains", ["*", "*:22"]),
        ("network.deniedResolvedAddresses", ["10.0.0.0/8", "::1"]),
        ("network.tlsTerminate", {"extraCaCertPaths": ["/ca.crt"]}),
        ("network.allowUnixSockets", ["/run/x"]),
        ("network.httpProxyPort", 3128),
        ("filesystem.denyWrite", [{"path": "a*b", "literal": True}, "dir/"]),
        ("filesystem.allowGitConfig", True),
        ("credentials.files", [{"path": "~/.netrc", "mode": "deny"}]),
        ("credentials", {"envVars": [{"name": "A", "mode": "mask"}], "allowPlaintextInject": True}),
        ("enableWeakerNestedSandbox", True),
        ("ignoreViolations", {"*": ["/usr/bin"]}),
        ("mandatoryDenySearchDepth", 10),
        ("git", {"safeDirectories": ["/src"]}),
        ("ripgrep", {"command": "rg"}),
    ],
)
def test_what_sandbox_runtime_knows_is_accepted(path: str, value: object) -> None:
    parse(with_key(path, value), "s.json")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("network.allowedDomains", ["*"]),
        ("network.allowedDomains", ["*.com", "a.com"]),
        ("network.deniedDomains", ["*.*"]),
        ("network.allowedDomains", "a.com"),
        ("network.deniedResolvedAddresses", ["ten"]),
        ("network.tlsTerminate", {"caCertPath": "/ca.crt"}),
        ("network.tlsTerminate", {"excludeDomains": ["a.com:443"]}),
        ("network.httpProxyPort", 0),
        ("network.allowDomains", []),
        ("filesystem.denyRead", [""]),
        ("filesystem.denyRead", ["a\0b"]),
        ("filesystem.denyRead", ["/data/*/"]),
        ("filesystem.denyReads", []),
        ("filesystem.disabled", True),
        ("credentials.envVars", [{"name": "A-B", "mode": "deny"}]),
        ("credentials.envVars", [{"name": "A", "mode": "hide"}]),
        ("credentials.envVars", [{"name": "A", "mode": "mask"}]),
        ("credentials.envVars", [{"name": "A", "mode": "deny", "maskClaims": ["x"]}]),
        ("credentials.files", [{"path": "a", "mode": "deny", "injectHosts": ["a.com"]}]),
        ("credentials.files", [{"path": "a", "mode": "deny", "extract": "no group"}]),
        ("credentials.files", [{"path": "a", "mode": "deny", "extract": "(open"}]),
        ("credentials.injectHosts", []),
        ("mandatoryDenySearchDepth", 11),
        ("sandbox", {}),
    ],
)
def test_what_is_not_sound_is_refused(path: str, value: object) -> None:
    refusal(with_key(path, value))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b'{"network":{"allowedDomains":[]}}', b"{}"])
def test_half_a_file_is_refused(data: bytes) -> None:
    refusal(data)


def test_a_credential_needs_a_host_it_may_go_to() -> None:
    found = json.loads(with_key("network.allowedDomains", ["*.a.com:443"]))
    found["credentials"] = {"files": [{"path": "a", "mode": "mask", "injectHosts": ["api.a.com"]}]}
    assert "tlsTerminate" in refusal(json.dumps(found).encode())
    found["network"]["tlsTerminate"] = {}
    parse(json.dumps(found).encode(), "s.json")
    found["credentials"]["files"][0]["injectHosts"] = []
    assert "injectHosts" in refusal(json.dumps(found).encode())


@pytest.mark.parametrize("entry", ["a.com", "*.a.com", "a.com:1", "a.com:65535", "localhost", "[::1]", "[::1]:8"])
def test_domains(entry: str) -> None:
    assert is_domain(entry)


@pytest.mark.parametrize(
    "entry",
    [
        *("", "a", "a.", ".a.b", "a..b", "*", "*.a", "a.*.b", "*a.b.c", "a.b/c", "x://a.b", "a.b\n", "a b.c"),
        *("a.b:0", "a.b:65536", "a.b:", "a.b:\uff180", "::1", "2001:db8::1:443", "[::1", "[::1]x", "[1.2.3.4]"),
    ],
)
def test_no_domains(entry: str) -> None:
    assert not is_domain(entry)


def test_an_entry_without_wildcards_stands_for_itself() -> None:
    assert spelled("a/b") == ("a/b", True)
    assert spelled("a/*") == ("a/*", False)
    assert spelled(PathEntry(path="a/*", literal=True)) == ("a/*", True)


def test_the_default_file_may_be_absent_but_not_a_named_one() -> None:
    assert load("", "/nonexistent") is EMPTY
    with pytest.raises(SettingsError, match="no settings file"):
        load("/nonexistent/s.json", "/nonexistent")
