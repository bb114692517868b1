"""Logins by account whose tokens stay outside: the real Claude Code and Codex with placeholders in their files.

As root and as an ordinary user, against the lab's servers at the real names.
"""

import base64
import json
import os
import subprocess
import time
from typing import Any

import pytest

from tests.e2e.commands import Commands
from tests.e2e.credentials import TIMEOUT_S, authorization, holding, nothing
from tests.e2e.test_agents import FIXED, Project
from tests.integration.lab import accounts
from tests.integration.lab.models import SCENARIO
from tests.lab import Lab

pytestmark = [pytest.mark.require("bubblewrap", "userns", "overlay", "network-lab", "git"), pytest.mark.timeout(400)]
ACCESS = f"sk-{'ant'}-oat01-{'LabAccess' * 9}0123456789-AA"
LOGIN = """
version = 1
[network]
allow = ["platform.claude.com"]
[secrets.claude-access]
source = { file = "~/.claude/.credentials.json", field = "claudeAiOauth.accessToken" }
inject = [{ host = "api.anthropic.com", header = "authorization" }]
[secrets.claude-refresh]
source = { file = "~/.claude/.credentials.json", field = "claudeAiOauth.refreshToken" }
inject = [{ host = "platform.claude.com", body = "refresh_token", paths = ["/v1/oauth/token"] }]
[[secrets.claude-refresh.capture]]
host = "platform.claude.com"
paths = ["/v1/oauth/token"]
fields = { access_token = "claude-access", refresh_token = "claude-refresh" }
[[secret-files]]
path = "~/.claude/.credentials.json"
text = '''
{{"claudeAiOauth": {{"accessToken": "{claude-access}", "refreshToken": "{claude-refresh}", "expiresAt": EXPIRES,
  "scopes": ["user:inference", "user:profile"], "subscriptionType": "max"}}}}
'''
"""


class Logins(Project):
    """The project of test_agents.py, whose user has signed in on the host."""

    def sign_in(self, expires_s: float) -> str:
        """Put Claude's login into the host's home; give the path of a policy that keeps its tokens outside."""
        expires = int((time.time() + expires_s) * 1000)
        login = {"accessToken": ACCESS, "refreshToken": accounts.REFRESH_TOKEN, "expiresAt": expires}
        self.put(".claude/.credentials.json", json.dumps({"claudeAiOauth": login}))
        return self.put("login.toml", LOGIN.replace("EXPIRES", str(expires)))

    def sign_in_for_once(self) -> str:
        """The same without what renews a login: nothing inside can make the host's invalid."""
        self.sign_in(36_000)
        head, _, rest = LOGIN.partition("[secrets.claude-refresh]")
        files = "[[secret-files]]" + rest.partition("[[secret-files]]")[2]
        files = files.replace('"refreshToken": "{claude-refresh}", ', "").replace("EXPIRES", "4102444800000")
        return self.put("login.toml", head + files)

    def put(self, name: str, text: str) -> str:
        path = self.home / name
        path.write_text(text)
        path.chmod(0o600)
        os.chown(path, self.commands.account.pw_uid, self.commands.account.pw_gid)
        return str(path)

    def start(self, *words: str, turns: list[list[dict[str, Any]]]) -> "subprocess.CompletedProcess[str]":
        (self.lab.place / SCENARIO).write_text(json.dumps({"turns": turns}))
        own = self.commands.account.pw_uid == os.geteuid()
        return self.lab.run(
            ["ringfence", *words],
            cwd=self.workspace,
            user="" if own else self.commands.account.pw_name,
            environment={**self.commands.environment, **nothing(), NO_EXTRAS: "1"},
            timeout_s=TIMEOUT_S,
        )


@pytest.fixture
def logins(lab: Lab, ringfence: Commands) -> Logins:
    return Logins(lab, ringfence)


NO_EXTRAS = "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"
BYPASSING = ("--dangerously-skip-permissions",)
SEEN = "cat ~/.claude/.credentials.json > seen.txt"


@pytest.mark.require("claude")
@pytest.mark.parametrize("expires_s", [36_000.0, -60.0, 0.0], ids=["valid", "expired", "never-renewed"])
def test_claude_with_a_login_that_it_never_has(logins: Logins, expires_s: float) -> None:
    """An expired one is renewed; the new token is the vault's as well."""
    place = str(logins.workspace / "code_under_test.py")
    turns = [
        [{"tool": "Write", "input": {"file_path": place, "content": FIXED}}],
        [{"tool": "Bash", "input": {"command": SEEN, "description": "look"}}],
    ]
    mark = logins.lab.mark()
    policy = logins.sign_in(expires_s) if expires_s else logins.sign_in_for_once()
    options = ("--preset", "claude", "--policy", policy, "--env", NO_EXTRAS)
    done = logins.start("run", *options, "--", "claude", "-p", "do it", *BYPASSING, turns=turns)
    arrived = [entry for entry in logins.lab.since(mark, "http") if entry["host"] == "api.anthropic.com"]
    assert done.returncode == 0, done.stdout + done.stderr
    assert (logins.workspace / "code_under_test.py").read_text() == FIXED
    sent = {authorization(entry) for entry in arrived if entry["path"].startswith("/v1/messages")}
    renewed = expires_s < 0
    assert len(sent) == 1 and (sent == {f"Bearer {ACCESS}"}) is not renewed
    real = [ACCESS, accounts.REFRESH_TOKEN, *(one.removeprefix("Bearer ") for one in sent)]
    seen = (logins.workspace / "seen.txt").read_text()
    assert '"accessToken"' in seen and not any(one in seen + done.stdout + done.stderr for one in real)
    assert not holding(logins.commands.state, *real)
    told = [json.loads(line) for line in logins.commands.good("log", "--json").splitlines()]
    assert ("captured" in {one["code"] for one in told if one["kind"] == "secret"}) is renewed
    assert "taint" not in {one["kind"] for one in told}


def token(**claims: object) -> str:
    """A JSON Web Token as OpenAI's, signed by nobody."""
    said = {"iat": 1_700_000_000, "exp": int(time.time()) + 864_000, "jti": os.urandom(16).hex(), **claims}
    parts = [json.dumps(one, separators=(",", ":")).encode() for one in ({"alg": "RS256", "typ": "JWT"}, said)]
    return b".".join(base64.urlsafe_b64encode(one).rstrip(b"=") for one in (*parts, os.urandom(256))).decode()


ACCOUNT = {"chatgpt_account_id": "lab-account-1", "chatgpt_plan_type": "plus", "chatgpt_user_id": "lab-user-1"}
CODEX_LOGIN = """
version = 1
[network]
allow = ["auth.openai.com", "chatgpt.com"]
[secrets.codex-id]
source = { file = "~/.codex/auth.json", field = "tokens.id_token" }
[secrets.codex-access]
source = { file = "~/.codex/auth.json", field = "tokens.access_token" }
inject = [{ host = "chatgpt.com", header = "authorization" }]
[secrets.codex-refresh]
source = { file = "~/.codex/auth.json", field = "tokens.refresh_token" }
inject = [{ host = "auth.openai.com", body = "refresh_token", paths = ["/oauth/token"] }]
[[secrets.codex-refresh.capture]]
host = "auth.openai.com"
paths = ["/oauth/token"]
fields = { id_token = "codex-id", access_token = "codex-access", refresh_token = "codex-refresh" }
[[secret-files]]
path = "~/.codex/auth.json"
text = '''
{{"OPENAI_API_KEY": null, "tokens": {{"id_token": "{codex-id}", "access_token": "{codex-access}",
  "refresh_token": "{codex-refresh}", "account_id": "lab-account-1"}}, "last_refresh": "RENEWED"}}
'''
"""


@pytest.mark.require("codex")
def test_codex_with_a_login_that_it_never_has(logins: Logins) -> None:
    """Its tokens are JSON Web Tokens, and it reads who signed in from them: those inside say the same."""
    claims = {"email": "lab@example.com", "https://api.openai.com/auth": ACCOUNT}
    tokens = {"id_token": token(**claims), "access_token": token(**claims), "refresh_token": accounts.REFRESH_TOKEN}
    renewed = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
    login = {"OPENAI_API_KEY": None, "tokens": {**tokens, "account_id": "lab-account-1"}, "last_refresh": renewed}
    logins.put(".codex/auth.json", json.dumps(login))
    logins.put(".codex/config.toml", "")
    policy = logins.put("login.toml", CODEX_LOGIN.replace("RENEWED", renewed))
    mark = logins.lab.mark()
    script = "codex exec --json --dangerously-bypass-approvals-and-sandbox 'do it'; cat ~/.codex/auth.json > seen.txt"
    done = logins.start("run", "--preset", "codex", "--policy", policy, "--", "sh", "-c", script, turns=[])
    arrived = [entry for entry in logins.lab.since(mark, "http") if entry["host"] == "chatgpt.com"]
    # The lab does not know what an account is told of its workspaces: no turn begins, but the login arrives.
    assert "/backend-api/wham/accounts/check" in {entry["path"] for entry in arrived}, done.stdout + done.stderr
    assert {authorization(entry) for entry in arrived} <= {f"Bearer {tokens['access_token']}", ""}
    assert {dict(entry["headers"]).get("chatgpt-account-id", "lab-account-1") for entry in arrived} == {"lab-account-1"}
    seen = (logins.workspace / "seen.txt").read_text()
    assert "access_token" in seen and not any(one in seen + done.stdout + done.stderr for one in tokens.values())
    assert not holding(logins.commands.state, *tokens.values())
    assert "taint" not in {json.loads(line)["kind"] for line in logins.commands.good("log", "--json").splitlines()}
