"""Run the real command line as a user of this machine, in a workspace and a home of the test's own.

`Place` is where one test works: a workspace, a home and an account. `Item` is one piece of everyday work, as data in
the TOML files beside this module: what the host prepares, what the contained side does, what the host must see after.
"""

import os
import pwd
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from tests import paths, requirements
from tests.house.sources import ROOT

ENTRY = "from ringfence.cli.entry import main; main()"
# A fixed PATH: a shim of some version manager in a home that is not there inside would hide the system's program.
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
TIMEOUT_S = 100.0  # less than a test may take, more than a slow machine needs
GIT_IDENTITY = "[user]\n\tname = Ada Lovelace\n\temail = ada@example.org\n[init]\n\tdefaultBranch = main\n"


class Item(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that must work; it passes when its status is `status` and `after` succeeds on the host.

    The contained side runs one of `script` (sh -eu), `bash` (bash -eu), `python` and `argv`. `before` and `after` run
    on the host, with sh -eu, in the root that holds `ws` and `home`; `start`, relative to it, is where ringfence is
    started. `options` are ringfence's. `needs` are what the machine must have, see tests/requirements.py. A first line
    `@name` stands for the text of that name in the file's `shared` table.
    """

    name: str
    needs: tuple[str, ...] = ()
    before: str = ""
    options: tuple[str, ...] = ()
    start: str = "ws"
    script: str = ""
    bash: str = ""
    python: str = ""
    argv: tuple[str, ...] = ()
    status: int = 0
    after: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        """The command, in words."""
        if self.python:
            return ("/usr/bin/python3", "-Wignore", "-c", self.python)
        if self.bash:
            return ("bash", "-euc", self.bash)
        return self.argv or ("sh", "-euc", self.script)


class Catalogue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of items."""

    item: tuple[Item, ...]
    shared: dict[str, str] = {}


def items(name: str) -> list[Item]:
    """Read the items of `name`.toml beside this module."""
    found = msgspec.toml.decode((Path(__file__).parent / f"{name}.toml").read_bytes(), type=Catalogue)

    def whole(text: str) -> str:
        first, _, rest = text.partition("\n")
        return found.shared[first[1:]] + rest if first.startswith("@") else text

    return [
        msgspec.structs.replace(item, before=whole(item.before), script=whole(item.script), after=whole(item.after))
        for item in found.item
    ]


class Place:
    """A root that holds `ws` and `home`, owned by the account that works there."""

    def __init__(self, root: Path, account: pwd.struct_passwd) -> None:
        self.root = root
        self.account = account
        self.is_cold = True
        self.workspace = root / "ws"
        self.home = root / "home"
        for directory in (root, self.workspace, self.home):
            directory.mkdir(exist_ok=True)
            os.chown(directory, account.pw_uid, account.pw_gid)
        self.home.chmod(0o700)
        (self.home / ".gitconfig").write_text(GIT_IDENTITY)
        os.chown(self.home / ".gitconfig", account.pw_uid, account.pw_gid)

    def environment(self) -> dict[str, str]:
        """What a login of this account would have, as far as it matters here."""
        return {
            "PATH": PATH,
            "HOME": str(self.home),
            "USER": self.account.pw_name,
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "PYTHONPATH": str(ROOT / "src"),
            "GIT_CONFIG_NOSYSTEM": "1",
            **paths.variables(),
        }

    def identity(self) -> dict[str, object]:
        """Arguments for subprocess that become the account; none where we are that account already."""
        if self.account.pw_uid == os.geteuid():
            return {}
        return {"user": self.account.pw_uid, "group": self.account.pw_gid, "extra_groups": []}

    def command(self, argv: Sequence[str], options: Sequence[str] = ()) -> list[str]:
        """The words that run `argv` inside."""
        return [*paths.run_words([sys.executable, "-P", "-c", ENTRY]), *options, "--", *argv]

    def host(self, script: str) -> None:
        """Run a script on the host as the account, in the root; its failure is an error of the test."""
        done = self.on_host(["sh", "-euc", script])
        if done.returncode != 0:
            pytest.fail(f"on the host: {script}\n{said(done)}", pytrace=False)

    def start(self, argv: Sequence[str], options: Sequence[str] = (), **more: object) -> subprocess.Popen[bytes]:
        """Start a contained command and return at once; `more` goes to Popen."""
        settings: dict[str, object] = {"cwd": self.workspace, "env": self.environment(), **self.identity(), **more}
        return subprocess.Popen(self.command(argv, options), **settings)  # type: ignore[call-overload,no-any-return]  # settings are the caller's

    def run(
        self, argv: Sequence[str], options: Sequence[str] = (), *, start: str = "ws", data: bytes | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a contained command to its end, started in the directory `start` of the root."""
        if self.is_cold:
            self.is_cold = False
            state, directory = self.home / ".local/state/ringfence", self.root / start
            paths.make_ready(lambda: self._run(self.command(["true"], options), directory), state, kind=tuple(options))
        return self._run(self.command(argv, options), self.root / start, data)

    def on_host(self, words: Sequence[str], *, start: str = ".") -> subprocess.CompletedProcess[bytes]:
        """Run a command on the host as the account, in the directory `start` of the root."""
        return self._run(words, self.root / start)

    def _run(
        self, words: Sequence[str], directory: Path, data: bytes | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        environment = self.environment() | {"PWD": str(directory)}
        source: dict[str, object] = {"stdin": subprocess.DEVNULL} if data is None else {"input": data}
        return subprocess.run(  # type: ignore[call-overload,no-any-return]  # identity() gives what subprocess takes
            words, cwd=directory, env=environment, capture_output=True, timeout=TIMEOUT_S, **source, **self.identity()
        )

    def without_ringfence(self, item: Item) -> int:
        """The status of the item's script on the bare host: tells a gap of the machine from one of ours."""
        bare = Place(self.root / "bare", self.account)
        if item.before:
            bare.host(item.before)
        try:
            return bare.on_host(item.words, start=item.start).returncode
        except OSError:
            return 127


def places(kind: str, root: Path) -> Iterator[Place]:
    """Give one place: of `own`, the account that runs the tests, or of an `ordinary` one; the body of a fixture."""
    requirements.require("bubblewrap", "userns")
    if kind == "own":
        account: pwd.struct_passwd | None = pwd.getpwuid(os.geteuid())
    else:
        requirements.require("ordinary-user")
        account = requirements.ordinary_user()
    assert account is not None
    place = Place(root, account)
    with paths.ended(place.home / ".local/state/ringfence"):
        yield place
    # overlayfs leaves directories without any permission, which their owner cannot list and so not remove.
    place.on_host(["chmod", "-R", "u+rwX", "."])


def said(done: subprocess.CompletedProcess[bytes]) -> str:
    """The end of what a process printed."""
    return (done.stdout + done.stderr).decode(errors="replace")[-3000:]


def carry_out(item: Item, place: Place) -> None:
    """Do one item; on failure say what it printed, and whether the machine alone could have done it."""
    requirements.require(*item.needs)
    if item.before:
        place.host(item.before)
    done = place.run(item.words, item.options, start=item.start)
    if done.returncode != item.status:
        bare = place.without_ringfence(item)
        text = f"status {done.returncode}, wanted {item.status}; without ringfence {bare}\n{said(done)}"
        pytest.fail(text, pytrace=False)
    if item.after:
        place.host(item.after)
