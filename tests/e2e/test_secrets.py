"""Honest clients with credentials that stay outside: APIs, registries, agents; what they may not is refused.

As root and as an ordinary user. Servers of the lab refuse what they do not know, so what works proves that the real
credential arrived; and nothing inside, nothing printed and nothing recorded holds it.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.commands import Commands
from tests.e2e.credentials import TIMEOUT_S, Client, authorization, holding, nothing
from tests.e2e.test_agents import FIXED, Project
from tests.integration.lab import accounts
from tests.integration.lab.models import SCENARIO
from tests.lab import Lab

pytestmark = [pytest.mark.require("bubblewrap", "userns", "overlay", "network-lab"), pytest.mark.timeout(400)]
API_KEY = f"sk-{'ant'}-api03-{'LabKey' * 15}0123456789LabKeyL-AA"
OPENAI_KEY = f"sk-{'proj'}-{'LabKey' * 6}0123456789LabKey"


@pytest.fixture
def client(lab: Lab, ringfence: Commands) -> Client:
    """Give a client for each kind of account."""
    return Client(lab, ringfence)


API = """
import json, os, sys, urllib.error, urllib.request

def call(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": "Bearer " + os.environ["GITHUB_TOKEN"], "Accept": "application/vnd.github+json"}
    request = urllib.request.Request("https://api.github.com" + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get("X-Ringfence", "") or error.read().decode()

for method, path, body in json.loads(sys.argv[1]):
    print(json.dumps([method, path, *call(method, path, body)]), flush=True)
print(os.environ["GITHUB_TOKEN"])
"""
MAY = [
    ("GET", "/user", None, 200),
    ("GET", "/repos/lab/project/pulls", None, 200),
    ("POST", "/repos/lab/project/pulls", {"title": "x", "head": "agent/x", "base": "main"}, 201),
]
MAY_NOT = [
    ("PUT", "/repos/lab/project/pulls/1/merge", {}),
    ("DELETE", "/repos/lab/project/git/refs/heads/main", None),
    ("PATCH", "/repos/lab/project", {"private": False}),
    ("DELETE", "/repos/lab/project", None),
    ("PUT", "/repos/lab/project/contents/.github/workflows/x.yml", {"content": ""}),
    ("POST", "/repos/lab/project/keys", {"key": "x"}),
    ("POST", "/repos/lab/project/hooks", {}),
    ("POST", "/repos/lab/project/actions/workflows/x/dispatches", {}),
    ("POST", "/user/keys", {"key": "x"}),
    ("POST", "/graphql", {"query": "mutation { mergePullRequest }"}),
]


def test_a_client_of_the_api_opens_a_pull_request_and_merges_none(client: Client) -> None:
    calls = json.dumps([*(one[:3] for one in MAY), *MAY_NOT])
    program = ["python3", "-c", API, calls]
    token = accounts.GITHUB_TOKEN
    alone = client.run(*program, GITHUB_TOKEN=token)
    assert [json.loads(line)[2] < 300 for line in alone.stdout.splitlines()[:-1]] == [True] * len(MAY + MAY_NOT)
    client = Client(client.lab, client.commands)
    done = client.run("ringfence", "run", "--preset", "github", "--", *program, GITHUB_TOKEN=token)
    assert done.returncode == 0, done.stderr
    *lines, placeholder = done.stdout.splitlines()
    answers = [json.loads(line) for line in lines]
    assert [answer[2] for answer in answers[: len(MAY)]] == [one[3] for one in MAY]
    assert {(answer[2], answer[3]) for answer in answers[len(MAY) :]} == {(403, "egress-denied")}
    assert '"login": "lab"' in answers[0][3]
    assert placeholder != token and placeholder.startswith("ghp_") and len(placeholder) == len(token)
    arrived = client.arrived("api.github.com")
    assert [(entry["method"], entry["path"]) for entry in arrived] == [one[:2] for one in MAY]
    assert {authorization(entry) for entry in arrived} == {f"Bearer {token}"}
    assert token not in done.stdout + done.stderr and not client.holds(token)


def test_curl_with_a_netrc_works_as_well(client: Client) -> None:
    policy = client.policy("""
        [network]
        allow = ["api.github.com"]
        [secrets.github]
        source = { env = "GITHUB_TOKEN" }
        inject = [{ host = "api.github.com", header = "authorization", methods = ["GET"] }]
        [[secret-files]]
        kind = "netrc"
        host = "api.github.com"
        secret = "github"
    """)
    words = ("curl", "-sS", "-m60", "--netrc", "https://api.github.com/user")
    done = client.run("ringfence", "run", *policy, "--", *words, GITHUB_TOKEN=accounts.GITHUB_TOKEN)
    assert '"login": "lab"' in done.stdout, done.stderr
    reading = ("sh", "-c", "cat ~/.netrc; printenv GITHUB_TOKEN; true")
    done = client.run("ringfence", "run", *policy, "--", *reading, GITHUB_TOKEN=accounts.GITHUB_TOKEN)
    assert "machine api.github.com" in done.stdout and accounts.GITHUB_TOKEN not in done.stdout


def test_two_runs_have_two_placeholders(client: Client) -> None:
    words = ("ringfence", "run", "--preset", "github", "--", "printenv", "GITHUB_TOKEN")
    first, second = (client.run(*words, GITHUB_TOKEN=accounts.GITHUB_TOKEN).stdout for _ in range(2))
    assert first != second and len(first) == len(second) == len(accounts.GITHUB_TOKEN) + 1


UPLOAD = (
    "curl",
    "-sS",
    "-m60",
    "-o",
    "answer",
    "-w",
    "%{http_code}",
    "-F",
    ":action=file_upload",
    "-F",
    "content=@wheel",
)
UPLOADED = """
[network]
allow = [{ host = "upload.pypi.org", methods = ["GET"] }]
[secrets.pypi]
source = { env = "TWINE_PASSWORD" }
inject = [{ host = "upload.pypi.org", header = "authorization", methods = ["GET"] }]
variables = ["TWINE_PASSWORD"]
"""


@pytest.mark.parametrize("how", ["preset", "read-only"])
def test_a_package_is_not_uploaded(client: Client, how: str) -> None:
    """As twine does it: a form with Basic authentication. By the preset, and where reading is allowed."""
    client.write("wheel", "a wheel")
    script = f"""{" ".join(UPLOAD)} -u "__token__:$TWINE_PASSWORD" https://upload.pypi.org/legacy/"""
    variables = {"TWINE_PASSWORD": accounts.PYPI_TOKEN}
    alone = client.run("sh", "-c", script, **variables)
    assert alone.stdout == "200", alone.stderr
    client = Client(client.lab, client.commands)
    options = client.policy(UPLOADED) if how == "read-only" else ("--preset", "python", "--env", "TWINE_PASSWORD")
    done = client.run("ringfence", "run", *options, "--", "sh", "-c", script, **variables)
    assert done.stdout in ("403", "000"), done.stderr
    assert client.arrived("upload.pypi.org") == [] and client.records("denial")
    assert bool(client.records("taint")) == (how == "read-only")


NPM = """
[network]
allow = [{ host = "npm.example.com", methods = ["GET", "HEAD"] }]
[secrets.npm]
source = { env = "NPM_TOKEN" }
inject = [{ host = "npm.example.com", header = "authorization", methods = ["GET"] }]
[[secret-files]]
kind = "npmrc"
host = "npm.example.com/npm"
secret = "npm"
"""
REGISTRY = "--registry=https://npm.example.com/npm/"


@pytest.mark.require("npm")
def test_npm_says_who_it_is_and_publishes_nothing(client: Client) -> None:
    client.write("package.json", '{"name": "lab-package", "version": "2.0.0"}')
    variables = {"NPM_TOKEN": accounts.NPM_TOKEN, "PATH": f"{os.path.dirname(shutil.which('npm') or '')}:/usr/bin:/bin"}
    policy = client.policy(NPM)
    quiet = ("--no-audit", "--no-fund", "--no-update-notifier", "--fetch-retries=0")
    who = client.run("ringfence", "run", *policy, "--", "npm", "whoami", REGISTRY, *quiet, **variables)
    assert who.stdout.strip() == "lab", who.stderr
    (arrived,) = client.arrived("npm.example.com")
    assert authorization(arrived) == f"Bearer {accounts.NPM_TOKEN}"
    publish = ("npm", "publish", REGISTRY, *quiet)
    done = client.run("ringfence", "run", *policy, "--", *publish, **variables)
    assert done.returncode != 0 and accounts.NPM_TOKEN not in done.stdout + done.stderr
    assert "PUT" not in {entry["method"] for entry in client.arrived("npm.example.com")}
    login = f"--//npm.example.com/npm/:_authToken={accounts.NPM_TOKEN}"
    alone = client.run(*publish, login, f"--cafile={client.lab.place}/ca.crt", **variables)
    assert alone.returncode == 0, alone.stderr
    assert "PUT" in {entry["method"] for entry in client.arrived("npm.example.com")}
    assert not client.holds(accounts.NPM_TOKEN)


REFRESH = """
[network]
allow = ["platform.claude.com", "api.github.com"]
[secrets.refresh]
source = { env = "REFRESH_TOKEN" }
inject = [{ host = "platform.claude.com", body = "refresh_token", paths = ["/v1/oauth/token"] }]
variables = ["REFRESH_TOKEN"]
[[secrets.refresh.capture]]
host = "platform.claude.com"
paths = ["/v1/oauth/token"]
fields = { access_token = "access", refresh_token = "refresh" }
[secrets.access]
source = { env = "ACCESS_TOKEN" }
optional = true
inject = [{ host = "api.github.com", header = "authorization" }]
"""
RENEW = """
import json, os, urllib.request
def post(url, body, **headers):
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers), timeout=60) as answer:
        return json.loads(answer.read())
token = os.environ["REFRESH_TOKEN"]
for _ in range(2):
    body = {"grant_type": "refresh_token", "refresh_token": token}
    found = post("https://platform.claude.com/v1/oauth/token", body, **{"Content-Type": "application/json"})
    token = found["refresh_token"]
    bearer = {"Authorization": "Bearer " + found["access_token"]}
    request = urllib.request.Request("https://api.github.com/user", headers=bearer)
    with urllib.request.urlopen(request, timeout=60) as answer:
        print(answer.read().decode())
    print(json.dumps(found))
"""


def test_renewed_logins_stay_outside_too(client: Client) -> None:
    """OAuth: what a refresh brings becomes placeholders, with which the client goes on, and refreshes once more."""
    words = ("ringfence", "run", *client.policy(REFRESH), "--", "python3", "-c", RENEW)
    done = client.run(*words, REFRESH_TOKEN=accounts.REFRESH_TOKEN)
    assert done.stdout.count('"login": "lab"') == 2, done.stdout + done.stderr
    real = {authorization(entry).removeprefix("Bearer ") for entry in client.arrived("api.github.com")}
    assert len(real) == 2 and all(one.startswith("lab-access-") for one in real)
    assert not any(one in done.stdout for one in (*real, accounts.REFRESH_TOKEN))
    assert not client.holds(*real, accounts.REFRESH_TOKEN)
    assert [entry["code"] for entry in client.records("secret") if entry["code"] == "captured"]


AWS = """
[network]
allow = ["*.amazonaws.com"]
[secrets.aws-id]
source = { env = "AWS_ACCESS_KEY_ID" }
variables = ["AWS_ACCESS_KEY_ID"]
[secrets.aws]
source = { env = "AWS_SECRET_ACCESS_KEY" }
inject = [{ host = "*.amazonaws.com", sigv4 = true, key-id = "aws-id" }]
variables = ["AWS_SECRET_ACCESS_KEY"]
"""


@pytest.mark.parametrize("data", [(), ("-d", "Action=GetCallerIdentity&Version=2011-06-15")], ids=["get", "post"])
def test_requests_are_signed_anew_for_aws(client: Client, data: tuple[str, ...]) -> None:
    curl = f"""curl -sS -m60 --aws-sigv4 aws:amz:us-east-1:sts {" ".join(f"'{word}'" for word in data)} \
        --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" 'https://sts.us-east-1.amazonaws.com/?a=b%20c'"""
    keys = {"AWS_ACCESS_KEY_ID": accounts.AWS_KEY_ID, "AWS_SECRET_ACCESS_KEY": accounts.AWS_SECRET}
    script = curl + "; printenv AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY"
    done = client.run("ringfence", "run", *client.policy(AWS), "--", "sh", "-c", script, **keys)
    assert '"signed"' in done.stdout, done.stdout + done.stderr
    assert accounts.AWS_SECRET not in done.stdout


class Agents(Project):
    """The project of test_agents.py, whose model APIs are given keys by the user's shell."""

    def start(self, *words: str, turns: list[list[dict[str, Any]]]) -> "subprocess.CompletedProcess[str]":
        """Run an agent with real keys in the shell."""
        (self.lab.place / SCENARIO).write_text(json.dumps({"turns": turns}))
        keys = {"ANTHROPIC_API_KEY": API_KEY, "OPENAI_API_KEY": OPENAI_KEY}
        own = self.commands.account.pw_uid == os.geteuid()
        return self.lab.run(
            ["ringfence", *words],
            cwd=self.workspace,
            user="" if own else self.commands.account.pw_name,
            environment={**self.commands.environment, **nothing(), **keys},
            timeout_s=TIMEOUT_S,
        )


@pytest.fixture
def agents(lab: Lab, ringfence: Commands) -> Agents:
    """Give a project for each kind of account."""
    return Agents(lab, ringfence)


SEARCH = (
    """(env; cat /proc/[0-9]*/environ | tr '\\0' '\\n'; cat ~/.claude.json) 2>/dev/null | grep -a API_KEY > seen.txt"""
)


@pytest.mark.require("claude", "git")
def test_claude_works_with_a_key_that_it_never_has(agents: Agents) -> None:
    place = str(agents.workspace / "code_under_test.py")
    turns = [
        [{"tool": "Read", "input": {"file_path": place}}],
        [{"tool": "Write", "input": {"file_path": place, "content": FIXED}}],
        [{"tool": "Bash", "input": {"command": SEARCH, "description": "look"}}],
    ]
    mark = agents.lab.mark()
    done = agents.start("claude", "-p", "do it", "--output-format", "stream-json", "--verbose", turns=turns)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert (agents.workspace / "code_under_test.py").read_text() == FIXED
    check(agents, done, mark, host="api.anthropic.com", header="x-api-key", credential=API_KEY)


@pytest.mark.require("codex", "git")
def test_codex_works_with_a_key_that_it_never_has(agents: Agents) -> None:
    settings = agents.home / ".codex/config.toml"
    settings.write_text(settings.read_text().replace("LAB_KEY", "OPENAI_API_KEY"))
    turns = [[{"tool": "exec_command", "input": {"cmd": SEARCH}}]]
    mark = agents.lab.mark()
    done = agents.start("codex", "--", "exec", "--json", "do it", turns=turns)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    check(agents, done, mark, host="api.openai.com", header="authorization", credential=OPENAI_KEY)


def check(
    agents: Agents, done: "subprocess.CompletedProcess[str]", mark: int, *, host: str, header: str, credential: str
) -> None:
    """The real key arrived at its host alone; what the agent had was a placeholder of its shape."""
    arrived = [entry for entry in agents.lab.since(mark, "http") if entry["host"] == host]
    sent = {authorization(entry, header).removeprefix("Bearer ") for entry in arrived}
    assert credential in sent and sent <= {credential, ""}
    assert credential not in done.stdout + done.stderr
    named = "ANTHROPIC_API_KEY" if "anthropic" in host else "OPENAI_API_KEY"
    seen = (agents.workspace / "seen.txt").read_text()
    assert f"{named}={credential[:7]}" in seen and credential not in seen
    assert not holding(agents.commands.state, credential)
    assert "secret" in {entry["kind"] for entry in map(json.loads, agents.commands.good("log", "--json").splitlines())}


@pytest.mark.require("claude", "git")
def test_claude_goes_on_after_its_environment_was_printed(agents: Agents) -> None:
    """What a tool printed is part of every later request; the placeholder in it is no secret."""
    turns = [[{"tool": "Bash", "input": {"command": "env", "description": "look"}}]]
    done = agents.start("claude", "-p", "do it", "--output-format", "stream-json", "--verbose", turns=turns)
    assert done.returncode == 0


SOCKET = """
version = 1
[network.gateways.anthropic]
host = "api.anthropic.com"
variables = { ANTHROPIC_UNIX_SOCKET = "{path}" }
[env]
set = { ANTHROPIC_BASE_URL = "http://api.anthropic.com" }
"""


@pytest.mark.require("claude", "git")
def test_claude_works_over_a_unix_socket(agents: Agents) -> None:
    """Its requests to the model go through the gateway, and by the same rules."""
    place = str(agents.workspace / "code_under_test.py")
    (agents.home / "gateway.toml").write_text(SOCKET)
    policy = ("--policy", str(agents.home / "gateway.toml"))
    turns = [[{"tool": "Write", "input": {"file_path": place, "content": FIXED}}]]
    mark = agents.lab.mark()
    done = agents.start("claude", *policy, "--", "-p", "do it", turns=turns)
    arrived = [entry for entry in agents.lab.since(mark, "http") if entry["host"] == "api.anthropic.com"]
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert (agents.workspace / "code_under_test.py").read_text() == FIXED
    assert {authorization(entry, "x-api-key") for entry in arrived} == {API_KEY}


def test_this_file_holds_no_key() -> None:
    """A scanner finds nothing here: what looks like a key is put together."""
    text = Path(sys.modules[__name__].__file__ or "").read_text()
    assert API_KEY not in text and OPENAI_KEY not in text
