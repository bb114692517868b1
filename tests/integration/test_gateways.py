"""Unix sockets inside that lead to one host each: real clients, and the same rules as by any other way."""

import json
import sys
from pathlib import Path

import pytest

from tests.integration.egress_runs import running
from tests.integration.test_vault import authorizations, run
from tests.lab import Lab

pytestmark = [pytest.mark.require("bubblewrap", "userns", "overlay", "network-lab", "curl")]
GOOD, EVIL, LOCAL = "www.public.example.net", "git.example.com", "host-loopback"
VALUE = "gh" + "p_" + "L1m2N3o4" * 4
PATHS = ["/ok/**", "/seen/**", "/hdr", "/upload", "/echo-in/**", "/sse"]
POLICY = f"""
version = 1
[network]
allow = [
  {{ host = "{GOOD}", methods = ["GET", "POST", "PUT"], paths = {PATHS} }},
  "{LOCAL}:8080",
]
[network.gateways.web]
host = "{GOOD}"
variables = {{ WEB = "{{path}}", WEB_URL = "unix://{{path}}" }}
[network.gateways.local]
host = "{LOCAL}:8080"
tls = false
[secrets.service]
source = {{ env = "REAL_TOKEN" }}
inject = [{{ host = "{GOOD}", header = "authorization", paths = ["/ok/**", "/hdr", "/echo-in/**"] }}]
variables = ["TOKEN"]
[leaks]
"""
CURL = 'curl -sS -m50 --unix-socket "$WEB"'
AS_USER = '-H "Authorization: Bearer $TOKEN"'


def inside(lab: Lab, place: Path, *words: str) -> str:
    (place / "policy.toml").write_text(POLICY)
    argv = ["run", "--policy", str(place / "policy.toml"), "--read", sys.prefix, "--", *words]
    done = run(lab, place, *argv, REAL_TOKEN=VALUE)
    assert VALUE not in done.stdout + done.stderr
    return done.stdout + done.stderr


def records(lab: Lab, place: Path) -> list[dict[str, object]]:
    lines = run(lab, place, "log", "--json").stdout.splitlines()
    return [json.loads(line) for line in lines]


HTTPX = """
import httpx, os
client = httpx.Client(transport=httpx.HTTPTransport(uds=os.environ["WEB"]), timeout=50)
head = {"Authorization": "Bearer " + os.environ["TOKEN"]}
for _ in range(2):
    print(client.get("http://anything/ok/a", headers=head).text)
print(client.put("http://anything/upload", content=b"x" * 300_000).json()["bytes"])
with client.stream("GET", "http://anything/sse") as answer:
    print(sum(1 for line in answer.iter_lines() if line.startswith("data:")))
"""
NODE = """
const http = require("http");
const headers = { authorization: "Bearer " + process.env.TOKEN };
const agent = new http.Agent({ keepAlive: true });
function get(left) {
  http.get({ socketPath: process.env.WEB, path: "/ok/b", headers, agent }, (answer) => {
    let text = "";
    answer.on("data", (part) => (text += part));
    answer.on("end", () => { console.log(answer.statusCode, text); left ? get(left - 1) : agent.destroy(); });
  }).on("error", (error) => console.log(error.code));
}
get(1);
"""


def test_curl(lab: Lab, open_path: Path) -> None:
    mark = lab.mark()
    script = f'echo "$WEB_URL"; {CURL} {AS_USER} http://localhost/ok/c; {CURL} {AS_USER} http://{GOOD}/echo-in/raw'
    said = inside(lab, open_path, "sh", "-c", script)
    assert "unix:///run/ringfence/gateway/web.sock" in said and "OK remote443 GET /ok/c" in said
    assert authorizations(lab.since(mark, "http")) == [f"Bearer {VALUE}"] * 2
    hosts = {(entry["scheme"], entry["host"]) for entry in lab.since(mark, "http")}
    assert hosts == {("https", GOOD)}
    found = records(lab, open_path)
    passed = [one["fields"] for one in found if one["kind"] == "egress"]
    assert [(one["program"], one["host"], one["path"]) for one in passed if isinstance(one, dict)] == [
        ("curl", GOOD, "/ok/c"),
        ("curl", GOOD, "/echo-in/raw"),
    ]
    assert {one["code"] for one in found if one["kind"] == "secret"} == {"injected", "scrubbed"}


def test_httpx(lab: Lab, open_path: Path) -> None:
    mark = lab.mark()
    said = inside(lab, open_path, sys.executable, "-c", HTTPX)
    assert said.count("OK remote443 GET /ok/a") == 2 and "300000" in said and said.split()[-1] == "3", said
    assert authorizations(lab.since(mark, "http")) == [f"Bearer {VALUE}"] * 2


@pytest.mark.require("node")
def test_node(lab: Lab, open_path: Path) -> None:
    mark = lab.mark()
    said = inside(lab, open_path, "node", "-e", NODE)
    assert said.count("200 OK remote443 GET /ok/b") == 2, said
    assert authorizations(lab.since(mark, "http")) == [f"Bearer {VALUE}"] * 2


def test_in_the_clear_to_the_host_s_own_loopback(lab: Lab, open_path: Path) -> None:
    script = "curl -sS -m50 --unix-socket /run/ringfence/gateway/local.sock http://localhost/x"
    assert "HOST-LOOPBACK" in inside(lab, open_path, "sh", "-c", script)


DENIED = {
    "a path": (f"{CURL} http://{GOOD}/other", "egress-denied"),
    "a method": (f"{CURL} -X DELETE http://{GOOD}/ok/x", "egress-denied"),
    "a path that leaves": (f"{CURL} --path-as-is http://{GOOD}/ok/../other", "bad-request"),
    "another host in the request": (f"{CURL} --request-target http://{EVIL}/ok/x http://{GOOD}/", "mismatch"),
    "a tunnel": (f"{CURL} -X CONNECT --request-target {EVIL}:443 http://{GOOD}/", "bad-request"),
    "a placeholder elsewhere": (f'{CURL} -H "X-A: $TOKEN" http://{GOOD}/ok/x', "secret-misuse"),
    "a placeholder in a body": (f'{CURL} -d "$TOKEN" http://{GOOD}/seen/x', "secret-misuse"),
    "TLS": ('curl -skS -m50 --unix-socket "$WEB" https://localhost/ok/x', "bad-request"),
}


@pytest.mark.parametrize("what", DENIED)
def test_nothing_passes_that_would_not_pass_otherwise(lab: Lab, open_path: Path, what: str) -> None:
    script, code = DENIED[what]
    mark = lab.mark()
    inside(lab, open_path, "sh", "-c", f"{script}; {CURL} http://localhost/ok/control")
    paths = [entry["path"] for entry in lab.since(mark, "http")]
    assert paths == ["/ok/control"]
    found = [(one["kind"], one["code"]) for one in records(lab, open_path)]
    assert ("denial", code) in found
    assert (("taint", code) in found) is (code == "secret-misuse")


def test_without_the_rule_the_run_does_not_begin(lab: Lab, open_path: Path) -> None:
    (open_path / "policy.toml").write_text('version = 1\n[network.gateways.web]\nhost = "nobody.example.net"\n')
    done = run(lab, open_path, "run", "--policy", str(open_path / "policy.toml"), "--", "true")
    assert done.returncode == 2 and "which no rule allows" in done.stderr and "policy.toml:2" in done.stderr


def test_what_the_operator_denies_is_lost_there_too(lab: Lab, open_path: Path) -> None:
    (open_path / "policy.toml").write_text(POLICY)
    script = f"{CURL} http://localhost/ok/first; read line; {CURL} http://localhost/ok/second"
    options = ("--policy", str(open_path / "policy.toml"))
    with running(lab, open_path, ["sh", "-c", script], *options, environment={"REAL_TOKEN": VALUE}) as live:
        assert "OK remote443" in live.line()
        assert run(lab, open_path, "deny", "--run", live.directory.name, GOOD).returncode == 0
        live.tell("go")
        said, _ = live.end()
    assert "egress-denied" in said
