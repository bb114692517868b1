"""`ringfence srt` in the lab, beyond the corpus: what it opens, what it takes from our own policy, what it records."""

import json
import os
from pathlib import Path

import pytest

from tests.lab import Lab
from tests.sandbox_runtime import Place

pytestmark = [pytest.mark.require("bubblewrap", "userns", "overlay", "network-lab", "curl")]
NAME = "allowed.example.com"


@pytest.fixture
def place(tmp_path: Path, lab: Lab) -> Place:
    return Place(tmp_path, lab)


def run(place: Place, words: str, *allowed: str, environment: dict[str, str] | None = None, **more: object) -> str:
    """Run a command text; give what it prints."""
    network = {"allowedDomains": allowed, "deniedDomains": [], **more}
    found = {"network": network, "filesystem": {"denyRead": [], "allowWrite": ["."], "denyWrite": []}}
    done = place.srt(found, words, environment=environment or {})
    return done.stdout + done.stderr


def greeting(host: str, port: int) -> str:
    code = f"import socket; print(socket.create_connection(('{host}', {port}), 50).makefile().readline())"
    return f'python3 -c "{code}"'


def test_named_ports_carry_any_bytes_without_a_proxy(place: Place, lab: Lab) -> None:
    assert "HELLO" in run(place, greeting("denied.example.com", 22), "denied.example.com:22")
    assert "HELLO" in run(place, greeting("127.0.0.1", 5432), "localhost:5432")
    mark = lab.mark()
    assert "HELLO" not in run(place, greeting("denied.example.com", 9000), "denied.example.com:22")
    assert "HELLO" not in run(place, greeting("127.0.0.1", 5432), "localhost:8080")
    assert not lab.since(mark, "tcp")


def test_any_other_port_carries_tls_and_http_only(place: Place, lab: Lab) -> None:
    mark = lab.mark()
    tunnel = 'curl -sS -m5 -p -x "$HTTP_PROXY" telnet://allowed.example.com:9000 </dev/null'
    assert "HELLO" not in run(place, tunnel, NAME)
    assert "OK remote8080" in run(place, f"curl -sS -m50 http://{NAME}:8080/", NAME)
    assert not lab.since(mark, "tcp")


def test_a_server_inside_may_use_a_port_that_nobody_named(place: Place) -> None:
    text = 'python3 -c "import socket; print(socket.create_server((chr(48) + chr(46) + chr(48), %d)))" 2>&1'
    assert "laddr" in run(place, text % 8080, NAME)
    assert "Address already in use" in run(place, text % 8443, NAME)
    assert "laddr" in run(place, text % 8443)


def test_tls_is_opened_where_it_is_asked_for(place: Place, lab: Lab) -> None:
    # Not the lab's environment, in which its authority is trusted anyway: the settings name it.
    place.environment.pop("SSL_CERT_FILE")
    words = f"curl -sS -m50 https://{NAME}/opened; curl -sS -m50 https://denied.example.com/; echo $?"
    said = run(place, words, NAME, tlsTerminate={"extraCaCertPaths": ["{LAB}/ca.crt"]})
    assert "OK remote443 GET /opened" in said
    untrusted = run(place, f"curl -sS -m50 https://{NAME}/", NAME, tlsTerminate={})
    assert "upstream-certificate" in untrusted
    excluded = {"excludeDomains": [NAME], "extraCaCertPaths": ["{LAB}/ca.crt"]}
    passed = run(place, f"curl -sS -m50 --cacert {lab.place}/ca.crt https://{NAME}/", NAME, tlsTerminate=excluded)
    assert "OK remote443" in passed


def test_what_our_own_policy_denies_stays_denied(place: Place, lab: Lab) -> None:
    config = place.root / "config"
    (config / "ringfence").mkdir(parents=True)
    (config / "ringfence/policy.toml").write_text(f'version = 1\n[network]\nmode = "off"\ndeny = ["{NAME}"]\n')
    words = f"curl -sS -m50 http://{NAME}/; curl -sS -m50 http://other.example.net/"
    mark = lab.mark()
    said = run(place, words, NAME, "other.example.net", environment={"XDG_CONFIG_HOME": str(config)})
    assert "egress-denied" in said and "OK remote80" in said
    assert [entry["host"] for entry in lab.since(mark, "http")] == ["other.example.net"]


def test_programs_are_told_of_a_proxy_of_this_run(place: Place) -> None:
    words = "env | grep -i _proxy | sort"
    first, second = (run(place, words, NAME, environment={"HTTPS_PROXY": "http://host:1"}) for _ in range(2))
    assert "host:1" not in first and "HTTPS_PROXY=http://srt:" in first
    assert first != second


def test_denials_are_recorded(place: Place) -> None:
    run(place, "curl -sS -m50 http://denied.example.com/", NAME)
    audit = (place.root / "state/ringfence/audit/audit.jsonl").read_text()
    denials = [json.loads(line) for line in audit.splitlines() if "egress-denied" in line]
    assert any("denied.example.com:80" in json.dumps(record) for record in denials)


def test_a_parent_that_is_not_there_is_not_gone_around(place: Place, lab: Lab) -> None:
    mark = lab.mark()
    said = run(place, f"curl -sS -m50 http://{NAME}/", NAME, httpProxyPort=9)
    assert "unreachable" in said and "OK remote80" not in said
    assert not lab.since(mark, "http")


def test_settings_that_cannot_be_honoured_end_before_anything_runs(place: Place) -> None:
    network = {"allowedDomains": [NAME], "deniedDomains": [], "mitmProxy": {"socketPath": "/s", "domains": [NAME]}}
    found = {"network": network, "filesystem": {"denyRead": [], "allowWrite": ["."], "denyWrite": []}}
    done = place.srt(found, "touch ran")
    assert done.returncode == 1 and "mitmProxy" in done.stderr
    assert not os.path.exists(place.work / "ran")
