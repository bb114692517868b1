"""A network of our own for tests and benchmarks: what is run in it meets hosts that exist nowhere else.

`lab.run([...])` runs a command on the lab's host side (tests/integration/lab/world.py says what is beyond), as the
user who runs the tests or, as root, as another one. `lab.since(lab.mark())` is what arrived outside meanwhile. As a
program, `python -m tests.lab [--user NAME] [COMMAND...]` keeps a lab open around one command.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.house.sources import ROOT
from tests.integration.lab import world

START_TIMEOUT_S = 30
RUN_TIMEOUT_S = 100
RINGFENCE = "from ringfence.cli.entry import main; main()"
PROXY_NAMES = ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy")
AUTHORITY_NAMES = ("ssl_cert_dir", "curl_ca_bundle", "requests_ca_bundle", "git_ssl_cainfo", "pip_cert")
"""Left out, so that a machine that has them is no other than one that has them not."""
Entry = dict[str, Any]


class Lab:
    """A running lab. `place` holds `ca.crt`, `remote.log` and `host.sock`."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="ringfence-lab-", dir="/tmp"))
        self.place.chmod(0o755)
        argv = [sys.executable, "-m", "tests.integration.lab.serve", str(self.place), *(["quiet"] if quiet else [])]
        self._process = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin and self._process.stdout
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        if self._stdout.readline() != b"ready\n":
            self.close()
            raise RuntimeError("the lab did not start")

    @property
    def pid(self) -> int:
        """The process that holds the namespaces of the host side."""
        return self._process.pid

    def close(self) -> None:
        """End it and everything of it."""
        self._stdin.close()
        try:
            self._process.wait(START_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stdout.close()
        shutil.rmtree(self.place, ignore_errors=True)

    def words(self, argv: Sequence[str], *, cwd: Path | str = "/", user: str = "") -> list[str]:
        """Give the argument vector that runs `argv` in the lab."""
        enter = ["nsenter", f"--target={self.pid}", "--net", "--mount"]
        if os.geteuid() != 0:
            enter += ["--user", "--preserve-credentials"]
        if user:
            enter += ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--"]
        # The directory is entered last: a path opened before would lie in the mount namespace left behind.
        return [*enter, "sh", "-c", 'cd -- "$0" && exec "$@"', str(cwd), *argv]

    def environment(self) -> dict[str, str]:
        """Give our environment without proxies, with the lab's authority trusted and our code found."""
        left = (*PROXY_NAMES, *AUTHORITY_NAMES)
        kept = {name: value for name, value in os.environ.items() if name.lower() not in left}
        authority = str(self.place / "ca.crt")
        # Node.js and what is built on it (Claude Code) know only a variable of their own.
        trusted = {"SSL_CERT_FILE": authority, "NODE_EXTRA_CA_CERTS": authority}
        return kept | trusted | {"PYTHONPATH": str(ROOT / "src")}

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | str = "/",
        user: str = "",
        environment: Mapping[str, str] = {},
        stdin: str = "",
        timeout_s: float = RUN_TIMEOUT_S,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the host side; `ringfence` stands for the program of this tree."""
        return subprocess.run(
            self.words(program(argv), cwd=cwd, user=user),
            env=self.environment() | dict(environment),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    def popen(
        self, argv: Sequence[str], *, cwd: Path | str = "/", user: str = "", **more: Any
    ) -> subprocess.Popen[Any]:
        """Start a command on the host side."""
        return subprocess.Popen(self.words(program(argv), cwd=cwd, user=user), **{"env": self.environment()} | more)

    def mark(self) -> int:
        """Give the place in the log where what comes now begins."""
        return (self.place / "remote.log").stat().st_size

    def since(self, mark: int = 0, kind: str = "") -> list[Entry]:
        """Read what was logged since, all of it or one kind: dns, flow, http, tcp, udp, host."""
        with open(self.place / "remote.log", "rb") as file:
            file.seek(mark)
            if mark and os.pread(file.fileno(), 1, mark - 1) != b"\n":
                file.readline()  # it was just being written then
            entries = [json.loads(line) for line in file if line.endswith(b"\n")]  # not what is just being written
        return [entry for entry in entries if kind in ("", entry["kind"])]

    def text(self, value: str) -> str:
        """Put the lab's directory in place of `{LAB}`."""
        return value.replace("{LAB}", str(self.place))


def program(argv: Sequence[str]) -> list[str]:
    """Replace `ringfence` as the first word."""
    own = [sys.executable, "-c", RINGFENCE]
    return [*own, *argv[1:]] if argv[:1] == ["ringfence"] else list(argv)


def main() -> int:
    """Keep a lab open around a command, a shell by default; its exit status is ours."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description="Run a command in the network lab.")
    parser.add_argument("--user", default="", help="as root: run the command as this user")
    parser.add_argument("--quiet", action="store_true", help="log no requests and no flows (benchmarks)")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="default: a shell")
    asked = parser.parse_args()
    argv = asked.command[1:] if asked.command[:1] == ["--"] else asked.command
    lab = Lab(quiet=asked.quiet)
    try:
        environment = lab.environment() | {"LAB": str(lab.place), "LAB_PUBLIC": world.PUBLIC}
        argv = argv or [os.environ.get("SHELL", "sh")]
        with lab.popen(argv, cwd=os.getcwd(), user=asked.user, env=environment) as run:
            return run.wait()
    except KeyboardInterrupt:
        return 130
    finally:
        lab.close()


if __name__ == "__main__":
    sys.exit(main())
