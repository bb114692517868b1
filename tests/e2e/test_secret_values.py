"""Values and what becomes of them: odd characters, lines, scopes, the command line, rotation while a run goes on."""

import base64
import json
import os
import subprocess
import urllib.parse
from typing import Any

import pytest

from tests.e2e.commands import Commands
from tests.e2e.credentials import Client, authorization, nothing
from tests.e2e.test_secrets import API, MAY
from tests.integration.lab import accounts
from tests.lab import Lab

pytestmark = [pytest.mark.require("bubblewrap", "userns", "overlay", "network-lab"), pytest.mark.timeout(400)]


@pytest.fixture
def client(lab: Lab, ringfence: Commands) -> Client:
    """Give a client for each kind of account."""
    return Client(lab, ringfence)


ODD = 'Aa1"b\\c&d=e+f /g%25h;i<j>k{l}m'
ODD_POLICY = """
[network]
allow = ["git.example.com"]
[secrets.odd]
source = { env = "ODD" }
variables = ["ODD"]
inject = [
  { host = "git.example.com", header = "x-api-key" },
  { host = "git.example.com", header = "authorization" },
  { host = "git.example.com", query = "key" },
  { host = "git.example.com", body = "a.key" },
  { host = "git.example.com", body = "key" },
]
"""
ODD_CLIENT = """
import base64, json, os, urllib.parse, urllib.request
odd = os.environ["ODD"]
def send(path="/seen/odd", data=None, **headers):
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request("https://git.example.com" + path, data, fields)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.status
send(X_Api_Key=odd)
send(Authorization="Basic " + base64.b64encode(("user:" + odd).encode()).decode())
send("/seen/odd?a=b&" + urllib.parse.urlencode({"key": odd}) + "&c=d")
send(data=json.dumps({"a": {"key": odd, "b": 1}}).encode(), Content_Type="application/json")
send(data=urllib.parse.urlencode({"key": odd, "b": "c"}).encode(), Content_Type="application/x-www-form-urlencoded")
"""


def test_values_with_odd_characters_arrive_as_they_are(client: Client) -> None:
    """In each place a value is written as that place writes it."""
    words = ("ringfence", "run", *client.policy(ODD_POLICY), "--", "python3", "-c", ODD_CLIENT)
    done = client.run(*words, ODD=ODD)
    assert done.returncode == 0, done.stderr
    header, basic, query, *_ = client.arrived("git.example.com")
    assert authorization(header, "x-api-key") == ODD
    assert base64.b64decode(authorization(basic).removeprefix("Basic ")).decode() == f"user:{ODD}"
    assert dict(urllib.parse.parse_qsl(query["path"].partition("?")[2])) == {"a": "b", "key": ODD, "c": "d"}
    bodies = [entry["text"] for entry in client.lab.since(client.mark, "body")]
    assert json.loads(bodies[3]) == {"a": {"key": ODD, "b": 1}}
    assert dict(urllib.parse.parse_qsl(bodies[4])) == {"key": ODD, "b": "c"}


@pytest.mark.parametrize("value", ["short", ""])
def test_a_value_that_cannot_be_kept_stops_the_run(client: Client, value: str) -> None:
    """Too short to be told from other text, or nothing: said before anything starts."""
    options = client.policy(ODD_POLICY)
    done = client.run("ringfence", "run", *options, "--", "sh", "-c", "touch started; env", ODD=value)
    assert done.returncode != 0 and "odd" in done.stderr, done.stdout + done.stderr
    assert not (client.workspace / "started").exists() and (not value or value not in done.stdout + done.stderr)


SPLITTING = "a first line\r\nX-Evil: a-second-line-of-the-value"
SPLIT_CLIENT = """
import base64, os, urllib.error, urllib.parse, urllib.request
odd = os.environ["ODD"]
mixed = base64.b64encode(("user:" + odd).encode()).decode()
query = urllib.parse.urlencode({"key": odd})
for path, headers in (("", {"Authorization": "Basic " + mixed}), ("?" + query, {})):
    request = urllib.request.Request("https://git.example.com/seen/odd" + path, headers=headers)
    try:
        urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        print(error.code)
"""


def test_a_value_never_becomes_a_line_of_its_own(client: Client) -> None:
    """Whoever can write a secret's value could otherwise write headers."""
    words = ("ringfence", "run", *client.policy(ODD_POLICY), "--", "python3", "-c", SPLIT_CLIENT)
    done = client.run(*words, ODD=SPLITTING)
    assert done.stdout.split() == ["403", "403"], done.stderr
    assert not any(authorization(entry, "x-evil") for entry in client.arrived("git.example.com"))


def test_a_secret_of_the_command_line(client: Client) -> None:
    words = ("curl", "-sS", "-m60", "-H", "Authorization: Bearer $GITHUB_TOKEN", "https://api.github.com/user")
    script = " ".join(f'"{word}"' for word in words)
    options = ("--allow", "api.github.com", "--secret", "GITHUB_TOKEN@api.github.com")
    done = client.run("ringfence", "run", *options, "--", "sh", "-c", script, GITHUB_TOKEN=accounts.GITHUB_TOKEN)
    assert '"login": "lab"' in done.stdout, done.stderr


@pytest.mark.parametrize(("scopes", "works"), [(["repo", "workflow"], True), (["repo"], False)])
def test_a_token_that_may_too_much_is_not_used(client: Client, scopes: list[str], works: bool) -> None:
    policy = client.policy(f"""
        [network]
        allow = ["api.github.com"]
        [secrets.github]
        source = {{ env = "GITHUB_TOKEN" }}
        inject = [{{ host = "api.github.com", header = "authorization" }}]
        variables = ["GITHUB_TOKEN"]
        scopes = {json.dumps(scopes)}
    """)
    calls = json.dumps([one[:3] for one in MAY[1:]])
    done = client.run(
        "ringfence", "run", *policy, "--", "python3", "-c", API, calls, GITHUB_TOKEN=accounts.GITHUB_TOKEN
    )
    answers = [json.loads(line)[2] for line in done.stdout.splitlines()[:-1]]
    assert answers == ([200, 201] if works else [403, 403]), done.stdout + done.stderr
    posted = [entry for entry in client.arrived("api.github.com") if entry["method"] == "POST"]
    assert len(posted) == works


ROTATED = """
import sys, urllib.request, os
def who():
    headers = {"Authorization": "Bearer " + os.environ["FILED"]}
    request = urllib.request.Request("https://git.example.com/echo-in/raw", headers=headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read().decode()
print(who(), flush=True)
sys.stdin.readline()
print(who(), flush=True)
"""


def test_a_secret_is_rotated_while_a_run_goes_on(client: Client) -> None:
    """The placeholder stays; what is put in for it is new, and both values are taken out of answers."""
    source = client.commands.home / "token"
    first, second = "FirstValue0123456789abcdef", "SecondValue9876543210fedcb"
    source.write_text(first)
    os.chown(source, client.commands.account.pw_uid, client.commands.account.pw_gid)
    options = client.policy(f"""
        [network]
        allow = ["git.example.com"]
        [secrets.filed]
        source = {{ file = "{source}" }}
        inject = [{{ host = "git.example.com", header = "authorization" }}]
        variables = ["FILED"]
    """)
    own = client.commands.account.pw_uid == os.geteuid()
    environment = client.lab.environment() | client.commands.environment | nothing()
    environment["PATH"] = client.commands.environment["PATH"]
    words = ["ringfence", "run", *options, "--", "python3", "-c", ROTATED]
    pipe = subprocess.PIPE
    user = "" if own else client.commands.account.pw_name
    streams: dict[str, Any] = {"stdin": pipe, "stdout": pipe, "text": True, "env": environment}
    with client.lab.popen(words, cwd=client.workspace, user=user, **streams) as run:
        assert run.stdout is not None and run.stdin is not None
        before = run.stdout.readline()
        source.write_text(second)
        done = client.run("ringfence", "secrets", "reload")
        assert done.returncode == 0, done.stderr
        run.stdin.write("\n")
        run.stdin.flush()
        after = run.stdout.readline()
    assert before == after != "" and first not in before and second not in after
    sent = [authorization(entry) for entry in client.arrived("git.example.com")]
    assert sent == [f"Bearer {first}", f"Bearer {second}"]
