"""git with a token that stays outside: an allowed branch arrives, nothing else does, and nobody inside sees the token.

The real client against git's own server, which wants the token. While a push goes on, a watcher inside reads the memory
of every process there, byte by byte, and in the end every file; that it finds the placeholder shows that it can find.
"""

import base64
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.commands import Commands
from tests.e2e.credentials import Client, holding
from tests.integration.lab import accounts, repositories
from tests.lab import Lab

pytestmark = [pytest.mark.require("bubblewrap", "userns", "overlay", "network-lab", "git"), pytest.mark.timeout(400)]
TOKEN = accounts.GITHUB_TOKEN
GIT = ("git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "safe.directory=*")
POLICY = """
[network]
allow = ["github.com"]
[secrets.github]
source = { env = "GITHUB_TOKEN" }
inject = [{ host = "github.com", header = "authorization" }]
variables = ["GITHUB_TOKEN"]
[[secret-files]]
kind = "netrc"
host = "github.com"
secret = "github"
[[git.remotes]]
host = "github.com"
repositories = ["gitauth/NAME"]
push = { refs = ["refs/heads/agent/*"], deny-paths = [".github/workflows/**"] }
"""


class Remote:
    """A repository beyond the cable, its clone in the workspace, and a policy that lets some branches through."""

    def __init__(self, client: Client, name: str) -> None:
        self.client, self.name = client, name
        self.project = repositories.make(client.lab.place / "gitauth", name)
        self.url = f"https://github.com/gitauth/{name}.git"
        workspace, account = client.workspace, client.commands.account
        for words in (("clone", "-q", str(self.project), "."), ("remote", "set-url", "origin", self.url)):
            subprocess.run([*GIT, *words], cwd=workspace, check=True, capture_output=True)
        (workspace / "data").write_bytes(os.urandom(3 << 20))
        subprocess.run([*GIT, "add", "."], cwd=workspace, check=True)
        subprocess.run([*GIT, "commit", "-qm", "work"], cwd=workspace, check=True)
        for path in (workspace, *workspace.rglob("*")):
            os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
        self.options = client.policy(POLICY.replace("NAME", name))
        self.before = self.refs()

    def refs(self) -> dict[str, str]:
        """What each ref of the repository is."""
        return repositories.refs(self.project)

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a command inside."""
        return self.client.run("ringfence", "run", *self.options, "--", *words, GITHUB_TOKEN=TOKEN)

    def push(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Push from inside."""
        return self.run("git", "push", "origin", *words)


@pytest.fixture
def remote(lab: Lab, ringfence: Commands) -> Iterator[Remote]:
    """Give a repository for each kind of account."""
    made = Remote(Client(lab, ringfence), f"p{os.urandom(4).hex()}")
    yield made
    assert not made.client.holds(TOKEN)


def test_the_token_is_wanted(remote: Remote) -> None:
    """The control: without it the server lets nobody in, with it everything is accepted."""
    client = remote.client
    quiet = {"GIT_TERMINAL_PROMPT": "0", "GIT_SSL_CAINFO": str(client.lab.place / "ca.crt")}
    assert client.run(*GIT, "push", "-q", "origin", "HEAD:refs/heads/x", **quiet).returncode == 128
    url = remote.url.replace("https://", f"https://x:{TOKEN}@")
    for ref in ("refs/heads/x", "refs/heads/main", "refs/tags/v1"):
        done = client.run(*GIT, "push", "-q", url, f"HEAD:{ref}", **quiet)
        assert done.returncode == 0, done.stderr
    assert set(remote.refs()) == {"refs/heads/main", "refs/heads/x", "refs/tags/v1"}


def test_an_allowed_branch_arrives(remote: Remote) -> None:
    done = remote.push("HEAD:refs/heads/agent/one")
    assert done.returncode == 0, done.stderr
    assert set(remote.refs()) == {"refs/heads/main", "refs/heads/agent/one"}
    assert TOKEN not in done.stdout + done.stderr
    arrived = [entry for entry in remote.client.arrived("github.com") if entry["path"].endswith("/git-receive-pack")]
    values = [value for entry in arrived for name, value in entry["headers"] if name.lower() == "authorization"]
    assert values and set(values) == {repositories.basic(TOKEN)}
    assert [entry["code"] for entry in remote.client.records("push")]


@pytest.mark.parametrize("version", ["0", "1", "2"])
def test_it_is_fetched_in_every_version_of_the_protocol(remote: Remote, version: str) -> None:
    done = remote.run("git", "-c", f"protocol.version={version}", "fetch", "origin", "main")
    assert done.returncode == 0, done.stderr
    done = remote.run("git", "-c", f"protocol.version={version}", "clone", "-q", "--depth=1", remote.url, "copy")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("HEAD:refs/heads/main",),
        ("HEAD:refs/heads/other",),
        ("HEAD:refs/tags/v1",),
        ("HEAD:refs/heads/agent",),
        ("HEAD:refs/heads/agent/a/b",),
        ("HEAD:refs/notes/x",),
        ("--delete", "main"),
        ("--force", "HEAD:refs/heads/main"),
        ("--mirror",),
        ("--tags", "HEAD:refs/heads/main"),
        ("HEAD:refs/heads/agent/one", "HEAD:refs/heads/main"),
        ("--atomic", "HEAD:refs/heads/agent/one", "HEAD:refs/heads/other"),
    ],
    ids=" ".join,
)
def test_every_other_ref_stays_what_it_is(remote: Remote, words: tuple[str, ...]) -> None:
    done = remote.push(*words)
    assert done.returncode != 0
    assert remote.refs() == remote.before
    assert "ringfence" in done.stderr or "403" in done.stderr, done.stderr


def test_a_pushed_commit_does_not_change_workflows(remote: Remote) -> None:
    script = """mkdir -p .github/workflows && echo x > .github/workflows/x.yml && git add -f .github && \
        git -c user.name=t -c user.email=t@example.com commit -qm x && git push origin HEAD:refs/heads/agent/one"""
    done = remote.run("sh", "-c", script)
    assert done.returncode != 0 and "workflows" in done.stderr, done.stderr
    assert remote.refs() == remote.before


def test_another_repository_is_not_reached(remote: Remote) -> None:
    other = repositories.make(remote.client.lab.place / "gitauth", remote.name + "x")
    before = repositories.refs(other)
    url = remote.url.replace(remote.name, remote.name + "x")
    assert remote.run("git", "push", url, "HEAD:refs/heads/agent/one").returncode != 0
    assert remote.run("git", "ls-remote", url).returncode != 0
    assert repositories.refs(other) == before


@pytest.mark.require("ssh-keygen")
def test_where_commits_must_be_signed_those_signed_outside_pass(remote: Remote) -> None:
    """By the key of `git.signing`, which is outside; not by a key that was made inside."""
    client, text = remote.client, POLICY.replace("NAME", remote.name).replace("deny-paths", "signed = true, deny-paths")
    key = client.commands.home / ".ssh/signing"
    client.run("mkdir", "-p", str(key.parent))
    assert client.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key)).returncode == 0
    remote.options = client.policy(text + '[git.signing]\nkey = "~/.ssh/signing"\n')
    commit = "git reset -q --soft origin/main && git commit -q -m x"
    push = "git push origin HEAD:refs/heads/agent/one"
    own = "ssh-keygen -q -t ed25519 -N '' -f /tmp/k && git -c gpg.ssh.program=ssh-keygen -c user.signingKey=/tmp/k"
    identity = "git config --global user.name t; git config --global user.email t@example.com"
    refused = remote.run("sh", "-c", f"{identity}; {commit} && {push}")
    assert refused.returncode != 0 and "remote: ringfence: " in refused.stderr and "not signed" in refused.stderr
    refused = remote.run("sh", "-c", f"{identity}; {commit} && {own} commit -q --amend -S -m y && {push}")
    assert refused.returncode != 0 and "a key that the rule does not name" in refused.stderr, refused.stderr
    assert remote.refs() == remote.before
    done = remote.run("sh", "-c", f"{identity}; {commit} -S && {push}")
    assert done.returncode == 0, done.stderr
    assert "refs/heads/agent/one" in remote.refs()


WATCHER = r"""
import base64, os, re, shutil, signal, subprocess, sys, tempfile
token, placeholder = re.compile(sys.argv[1].encode()), os.environ["GITHUB_TOKEN"].encode()
mixed = base64.b64encode(placeholder).rstrip(b"=")[:-1]
own = os.getpid()
seen = {"token": [], "placeholder": set(), "looks": 0}

def look(name, data):
    if token.search(data):
        seen["token"].append(name)
    if placeholder in data or mixed in data:
        seen["placeholder"].add(name)

def memory(pid):
    try:
        maps, file = open(f"/proc/{pid}/maps").read(), open(f"/proc/{pid}/mem", "rb", 0)
        name = open(f"/proc/{pid}/comm").read().strip()
        look("environment of " + name, open(f"/proc/{pid}/environ", "rb").read())
        look("arguments of " + name, open(f"/proc/{pid}/cmdline", "rb").read())
    except OSError:
        return
    for low, high in re.findall(r"^([0-9a-f]+)-([0-9a-f]+) r", maps, re.M):
        try:
            file.seek(int(low, 16))
            look("memory of " + name, file.read(int(high, 16) - int(low, 16)))
        except (OSError, OverflowError, ValueError):
            pass
    seen["looks"] += 1

trace = {"GIT_TRACE_CURL": os.getcwd() + "/trace", "GIT_TRACE_REDACT": "0"}
trace |= {"GIT_TRACE_PACKET": os.getcwd() + "/packets", "GIT_TRACE2_EVENT": os.getcwd() + "/events"}
hooks = tempfile.mkdtemp()  # the push goes on once it has been looked into, however slow we are
with open(hooks + "/pre-push", "w") as file:
    file.write(f"#!/bin/sh\nn=0; until [ -e {hooks}/looked ] || [ $n = 600 ]; do n=$((n + 1)); sleep 0.05; done\n")
os.chmod(hooks + "/pre-push", 0o755)
words = ["git", "-c", "core.hooksPath=" + hooks, "push", "origin", "HEAD:refs/heads/agent/one"]
push = subprocess.Popen(words, env=os.environ | trace)
while push.poll() is None:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            name = open(f"/proc/{pid}/comm").read()
            if "git" not in name:
                continue
            os.kill(int(pid), signal.SIGSTOP)
            memory(pid)
            os.kill(int(pid), signal.SIGCONT)
        except OSError:
            continue
        if "memory of git-remote-http" in {*seen["token"], *seen["placeholder"]}:
            open(hooks + "/looked", "w").close()
memory("self")
for pid in filter(str.isdigit, os.listdir("/proc")):
    memory(pid)
for top in (os.getcwd(), os.environ["HOME"], "/tmp", "/run", "/etc", "/dev/shm", "/var/tmp"):
    for folder, _, names in os.walk(top):
        for path in (os.path.join(folder, name) for name in names):
            try:
                if os.path.isfile(path):
                    look(path, open(path, "rb").read())
            except OSError:
                pass
os.remove("trace"), os.remove("packets"), os.remove("events"), shutil.rmtree(hooks)
print("SEEN", push.returncode, seen["looks"], seen["token"], sorted(seen["placeholder"]))
"""


def pattern() -> str:
    """Match the token, and what Basic authentication makes of it, without holding either: `[g][h][p]...`."""
    forms = (TOKEN, base64.b64encode(TOKEN.encode()).decode().rstrip("=")[:-1])
    return "|".join("".join(f"[{letter}]" for letter in form) for form in forms)


def test_the_token_is_nowhere_while_it_is_used(remote: Remote) -> None:
    done = remote.run("python3", "-I", "-c", WATCHER, pattern())
    found = re.search(r"^SEEN (\d+) (\d+) (\[.*?\]) (\[.*\])$", done.stdout, re.M)
    assert found, done.stdout + done.stderr
    assert (found[1], found[3]) == ("0", "[]"), found[0]
    assert int(found[2]) > 2 and "memory of git-remote-http" in found[4] and "/trace" in found[4], found[0]
    assert "refs/heads/agent/one" in remote.refs()
    state = remote.client.commands.state
    assert not holding(state, TOKEN)
    arrived = json.dumps(remote.client.arrived("github.com"))
    assert repositories.basic(TOKEN) in arrived


def test_the_search_finds_what_is_there(remote: Remote, tmp_path: Path) -> None:
    """The control of the search: outside, with the token in the variable and in a URL, it is in memory and files."""
    client = remote.client
    url = remote.url.replace("https://", f"https://x:{TOKEN}@")
    narrow = WATCHER.replace('"origin"', repr(url))
    narrow = re.sub(r"(?m)^for top in .*$", "for top in (os.getcwd(),):", narrow)
    narrow = narrow.replace('for pid in filter(str.isdigit, os.listdir("/proc")):\n    memory(pid)\n', "")
    narrow = narrow.replace('if "git" not in name', "if not is_ours(pid)").replace("def look", OURS + "def look", 1)
    certificates = {"GIT_SSL_CAINFO": str(client.lab.place / "ca.crt")}
    done = client.run("python3", "-c", narrow, pattern(), GITHUB_TOKEN=TOKEN, **certificates)
    assert re.search(r"^SEEN 0 \d+ \[.*memory of git-remote-http.*", done.stdout, re.M), done.stdout + done.stderr


OURS = """
def is_ours(pid):
    # Only what this script started: outside, /proc shows everybody.
    while pid not in ("0", "1"):
        if pid == str(push.pid):
            return True
        pid = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1]
    return False

"""
