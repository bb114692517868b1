"""Programs as people use them, with credentials that stay outside: gh, twine, git-lfs; what they may not is refused.

Each is tried without the boundary first, where the lab's servers take what it sends.
"""

import os
import re
import subprocess
import zipfile
from collections.abc import Iterator

import pytest

from tests.e2e.commands import Commands
from tests.e2e.credentials import Client, authorization
from tests.integration.lab import accounts, repositories
from tests.lab import Lab

pytestmark = [pytest.mark.require("bubblewrap", "userns", "overlay", "network-lab"), pytest.mark.timeout(400)]


@pytest.fixture
def client(lab: Lab, ringfence: Commands) -> Client:
    """Give a client for each kind of account."""
    return Client(lab, ringfence)


def later(client: Client) -> Client:
    """The same, with nothing arrived yet."""
    return Client(client.lab, client.commands)


# ---- gh

PULLS = "repos/lab/project/pulls"
GH_MAY: tuple[tuple[str, ...], ...] = (
    ("gh", "api", "user"),
    ("gh", "api", PULLS),
    ("gh", "api", PULLS, "-f", "title=x", "-f", "head=a", "-f", "base=m"),
)
GH_MAY_NOT: tuple[tuple[str, ...], ...] = (
    ("gh", "api", "-X", "PUT", f"{PULLS}/1/merge"),
    ("gh", "api", "-X", "DELETE", "repos/lab/project"),
    ("gh", "api", "repos/lab/project/keys", "-f", "key=x"),
    ("gh", "workflow", "run", "x", "-R", "lab/project"),
    ("gh", "pr", "merge", "1", "-R", "lab/project", "--squash"),
    ("gh", "repo", "delete", "lab/project", "--confirm"),
)


@pytest.mark.require("gh")
def test_gh_opens_a_pull_request_and_merges_none(client: Client) -> None:
    variables = {"GITHUB_TOKEN": accounts.GITHUB_TOKEN, "GH_NO_UPDATE_NOTIFIER": "1", "NO_COLOR": "1"}
    trusted = {"SSL_CERT_FILE": str(client.lab.place / "ca.crt")}
    for words in (*GH_MAY, *GH_MAY_NOT[:3]):
        alone = client.run(*words, **variables, **trusted)
        assert alone.returncode == 0, alone.stderr
    client = later(client)
    inside = ("ringfence", "run", "--preset", "github", "--")
    for words in GH_MAY:
        done = client.run(*inside, *words, **variables)
        assert done.returncode == 0, done.stderr
    for words in GH_MAY_NOT:
        done = client.run(*inside, *words, **variables)
        assert done.returncode != 0 and "ringfence: egress-denied: " in done.stdout + done.stderr, done.stderr
        assert accounts.GITHUB_TOKEN not in done.stdout + done.stderr
    arrived = client.arrived("api.github.com")
    assert [entry["method"] for entry in arrived if entry["method"] != "GET"] == ["POST"]
    assert {entry["path"] for entry in arrived} == {"/user", f"/{PULLS}"}
    assert {authorization(entry) for entry in arrived} == {f"token {accounts.GITHUB_TOKEN}"}
    assert not client.holds(accounts.GITHUB_TOKEN)
    assert len([one for one in client.records("denial") if one["code"] == "egress-denied"]) >= len(GH_MAY_NOT)


# ---- twine


def wheel(client: Client) -> None:
    """Make a wheel in the workspace."""
    path = client.workspace / "lab-1.0-py3-none-any.whl"
    about = "Metadata-Version: 2.1\nName: lab\nVersion: 1.0\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("lab-1.0.dist-info/METADATA", about)
        archive.writestr("lab-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("lab-1.0.dist-info/RECORD", "")
    os.chown(path, client.commands.account.pw_uid, client.commands.account.pw_gid)


READING = """
[network]
allow = [{ host = "upload.pypi.org", methods = ["GET"] }]
[secrets.pypi]
source = { env = "TWINE_PASSWORD" }
inject = [{ host = "upload.pypi.org", header = "authorization", methods = ["GET"] }]
variables = ["TWINE_PASSWORD"]
"""
UPLOADING = READING.replace('methods = ["GET"]', 'methods = ["POST"], paths = ["/legacy/"]')


@pytest.mark.require("twine")
def test_twine_uploads_where_it_may_and_nowhere_else(client: Client) -> None:
    wheel(client)
    twine = ("twine", "upload", "--non-interactive", "--disable-progress-bar", "lab-1.0-py3-none-any.whl")
    variables = {"TWINE_USERNAME": "__token__", "TWINE_PASSWORD": accounts.PYPI_TOKEN, "NO_COLOR": "1"}
    alone = client.run(*twine, REQUESTS_CA_BUNDLE=str(client.lab.place / "ca.crt"), **variables)
    assert alone.returncode == 0, alone.stdout + alone.stderr
    client = later(client)
    for options in (("--preset", "python"), client.policy(READING)):
        done = client.run("ringfence", "run", *options, "--env", "TWINE_*", "--", *twine, **variables)
        assert done.returncode != 0 and accounts.PYPI_TOKEN not in done.stdout + done.stderr
    assert client.arrived("upload.pypi.org") == [] and client.records("denial") and client.records("taint")
    allowed = client.policy(UPLOADING)
    done = client.run("ringfence", "run", *allowed, "--env", "TWINE_USERNAME", "--", *twine, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    (arrived,) = client.arrived("upload.pypi.org")
    assert authorization(arrived) == repositories.basic(accounts.PYPI_TOKEN, "__token__")
    assert not client.holds(accounts.PYPI_TOKEN)


# ---- git-lfs

GIT = ("git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "safe.directory=*")
LARGE = """
[network]
allow = ["github.com"]
[secrets.github]
source = {{ env = "GITHUB_TOKEN" }}
inject = [{{ host = "github.com", header = "authorization" }}]
variables = ["GITHUB_TOKEN"]
[[git.remotes]]
host = "github.com"
repositories = ["gitauth/{name}"]
push = {{ refs = ["refs/heads/agent/*"] }}
lfs = "{lfs}"
"""
WRITE = """set -e
git clone -q https://github.com/gitauth/{name}.git /tmp/work; cd /tmp/work
git config --global user.name t; git config --global user.email t@example.com
git lfs install >/dev/null; git lfs track '*.bin' >/dev/null; head -c 300000 /dev/urandom > large.bin
git add . && git commit -qm large && sha256sum large.bin && git push origin HEAD:refs/heads/agent/one
"""
READ = """set -e
git lfs install >/dev/null; git clone -q -b agent/one https://github.com/gitauth/{name}.git copy
sha256sum copy/large.bin; rm -r copy
"""


class Repository:
    """A repository beyond the cable, and its clone in the workspace."""

    def __init__(self, client: Client) -> None:
        self.client, self.name = client, f"l{os.urandom(4).hex()}"
        self.project = repositories.make(client.lab.place / "gitauth", self.name)
        workspace, account = client.workspace, client.commands.account
        url = f"https://github.com/gitauth/{self.name}.git"
        for words in (("clone", "-q", str(self.project), "."), ("remote", "set-url", "origin", url)):
            subprocess.run([*GIT, *words], cwd=workspace, check=True, capture_output=True)
        for path in (workspace, *workspace.rglob("*")):
            os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)

    def run(self, script: str, lfs: str) -> "subprocess.CompletedProcess[str]":
        """Run shell inside, with a policy of this much git LFS."""
        options = self.client.policy(LARGE.format(name=self.name, lfs=lfs))
        words = ("ringfence", "run", *options, "--", "sh", "-c", script.format(name=self.name))
        return self.client.run(*words, GITHUB_TOKEN=accounts.GITHUB_TOKEN)

    def large(self, method: str) -> list[str]:
        """Paths of the requests for large files that arrived."""
        found = self.client.arrived("github.com")
        return [entry["path"] for entry in found if "/lfs/" in entry["path"] and entry["method"] == method]


@pytest.fixture
def repository(client: Client) -> Iterator[Repository]:
    """Give a repository for each kind of account."""
    made = Repository(client)
    yield made
    assert not made.client.holds(accounts.GITHUB_TOKEN)


@pytest.mark.require("git-lfs")
def test_large_files_are_uploaded_and_downloaded_by_rule(repository: Repository) -> None:
    for lfs in ("none", "download"):
        done = repository.run(WRITE, lfs)
        assert done.returncode != 0, done.stderr
        assert (
            f"ringfence: git-denied: gitauth/{repository.name}: no rule allows git LFS to upload to it" in done.stderr
        )
        assert repository.large("PUT") == [] and "refs/heads/agent/one" not in repositories.refs(repository.project)
    done = repository.run(WRITE, "upload")
    assert done.returncode == 0, done.stderr
    digest = done.stdout.split()[0]
    assert re.fullmatch("[0-9a-f]{64}", digest)
    assert {path.rpartition("/")[2] for path in repository.large("PUT")} == {digest}
    done = repository.run(READ, "download")
    assert done.returncode == 0 and done.stdout.split()[0] == digest, done.stderr
    assert {path.rpartition("/")[2] for path in repository.large("GET")} == {digest}
    done = repository.run(READ, "none")
    assert done.returncode != 0 and digest not in done.stdout
    assert "no rule allows git LFS to download from it" in done.stderr, done.stderr
    denials = [one["fields"]["reason"] for one in repository.client.records("denial") if one["code"] == "git-denied"]
    assert sum("no rule allows git LFS" in reason for reason in denials) == 3


@pytest.mark.require("git-lfs")
def test_where_nothing_else_of_the_host_is_allowed_the_reason_is_shown_as_well(repository: Repository) -> None:
    options = repository.client.policy(
        LARGE.format(name=repository.name, lfs="none").replace('allow = ["github.com"]', "")
    )
    words = ("ringfence", "run", *options, "--", "sh", "-c", WRITE.format(name=repository.name))
    done = repository.client.run(*words, GITHUB_TOKEN=accounts.GITHUB_TOKEN)
    assert done.returncode != 0 and "ringfence: egress-denied: POST /gitauth/" in done.stderr, done.stderr
    assert not any("/lfs/" in entry["path"] for entry in repository.client.arrived("github.com"))
