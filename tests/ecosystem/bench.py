"""Where a check is carried out: a workspace and a home of its own, on the machine or in the network lab."""

import json
import os
import pwd
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.ecosystem.checks import Check
from tests.ecosystem.trust import keeping, trusting
from tests.lab import Lab
from tests.utility.confined import Place, said
from tests.utility.litter import OWN, Entry, listing, mounts

RESULTS = "RINGFENCE_COMPATIBILITY"
"""Names the file to which each check that passed adds a line."""

_VERSION = re.compile(r"\d+(?:\.\d+)+")
_NUMBER = re.compile(r"\d+")


class Bench(Place):
    """The place of one check. `lab` is None for what needs no network."""

    def __init__(self, root: Path, lab: Lab | None, timeout_s: float) -> None:
        super().__init__(root, pwd.getpwuid(os.geteuid()))
        self.lab, self.timeout_s = lab, timeout_s
        self.own: dict[str, str] = {}

    def environment(self) -> dict[str, str]:
        """What a login has; in the lab, ringfence trusts its authority, and `before` finds projects below SITES."""
        lab = self.lab.place if self.lab else None
        more = {"SSL_CERT_FILE": str(lab / "ca.crt"), "SITES": str(lab / "sites")} if lab else {}
        return super().environment() | {"RINGFENCE_STANDBY": "0", "TMPDIR": "/tmp"} | more | self.own

    def beside(self) -> "Bench":
        """Give a place beside this one for the same commands unconfined, in the same network."""
        other = Bench(self.root.with_name(f"{self.root.name}-bare"), self.lab, self.timeout_s)
        temporary = other.root / "tmp"
        temporary.mkdir()
        lab, home = self.lab, other.home
        other.own = trusting(lab.place, home, temporary) if lab else keeping(home, temporary)
        return other

    def words(self, argv: Sequence[str], directory: Path) -> list[str]:
        """What runs `argv` in a directory, in the lab where there is one."""
        return self.lab.words(argv, cwd=directory) if self.lab else list(argv)

    def start(self, argv: Sequence[str], options: Sequence[str] = (), **more: object) -> subprocess.Popen[bytes]:
        """Start a contained command and return at once; `more` goes to Popen."""
        settings: dict[str, object] = {"cwd": self.workspace, "env": self.environment(), **more}
        words = self.words(self.command(argv, options), self.workspace)
        return subprocess.Popen(words, **settings)  # type: ignore[call-overload,no-any-return]  # settings are the caller's

    def _run(
        self, words: Sequence[str], directory: Path, data: bytes | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        source: dict[str, object] = {"stdin": subprocess.DEVNULL} if data is None else {"input": data}
        return subprocess.run(  # type: ignore[call-overload,no-any-return]  # source is one of two keywords
            self.words(words, directory),
            cwd=directory,
            env=self.environment() | {"PWD": str(directory)},
            capture_output=True,
            timeout=self.timeout_s,
            **source,
        )

    def state(self) -> "State":
        """Look at everything that a check could change."""
        return State(self)

    def record(self, check: Check) -> None:
        """Add the check, which has passed, to the results that docs/compatibility.md is made of."""
        path = os.environ.get(RESULTS, "")
        if not path:
            return
        facts = {
            **{name: getattr(check, name) for name in ("file", "tool", "name", "does", "verdict", "why", "says")},
            "version": self.version(check),
            "user": "root" if os.geteuid() == 0 else "ordinary",
        }
        with open(path, "a", encoding="utf-8") as file:  # one write of one line: workers may add at the same time
            file.write(json.dumps(facts) + "\n")

    def version(self, check: Check) -> str:
        """Ask the tool for its version; empty where the check does not say how."""
        if not check.version:
            return ""
        self.own = keeping(self.home, self.root / "home") | {"PYTHON": sys.executable}
        done = self.on_host(["sh", "-c", check.version])
        text = (done.stdout + done.stderr).decode(errors="replace")
        found = _VERSION.search(text) or _NUMBER.search(text)
        assert found, f"`{check.version}` prints no version: {said(done)}"
        return found.group()


class State:
    """What the host looked like, to be compared with what it looks like after a check."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._before = self._look()
        self._mounts = self._mounted()

    def _look(self) -> dict[str, Entry]:
        leave_out = [*(f"home/{own}" for own in OWN), "."]
        return listing(self._bench.root, leave_out)

    def _mounted(self) -> list[str]:
        """What is mounted there; elsewhere other tests may mount."""
        return [path for path in mounts() if Path(path).is_relative_to(self._bench.root)]

    def unchanged_but(self, changes: Sequence[str] = ()) -> None:
        """Fail unless everything is as it was, but for these paths, what is below them, and times above them."""
        after = self._look()
        differing = {path for path in self._before.keys() | after.keys() if self._before.get(path) != after.get(path)}
        parents = {str(above) for path in changes for above in Path(path).parents}
        allowed = {
            path
            for path in differing
            if any(f"{path}/".startswith(f"{change}/") for change in changes) or (path in parents & self._before.keys())
        }
        litter = sorted(differing - allowed)
        assert not litter, f"changed on the host: {litter}"
        assert self._mounted() == self._mounts


def carry_out(check: Check, bench: Bench) -> None:
    """Do one check: without ringfence first, then inside, and look at the host afterwards."""
    if check.control:
        unconfined(check, bench.beside())
    if check.before:
        bench.host(check.before)
    state = bench.state()
    done = bench.run(check.words, check.ringfence_options, start=check.start)
    if done.returncode != check.status:
        pytest.fail(f"status {done.returncode}, wanted {check.status}\n{said(done)}", pytrace=False)
    if check.says and check.says not in (done.stdout + done.stderr).decode(errors="replace"):
        pytest.fail(f"nothing says `{check.says}`:\n{said(done)}", pytrace=False)
    state.unchanged_but(check.changes)
    if check.after:
        bench.host(check.after)
    bench.record(check)


def unconfined(check: Check, bare: Bench) -> None:
    """Do it without ringfence: what fails here is no finding about the boundary."""
    if check.before:
        bare.host(check.before)
    done = bare.on_host(check.words, start=check.start)
    if done.returncode != check.control_status:
        text = f"without ringfence: status {done.returncode}, wanted {check.control_status}\n{said(done)}"
        pytest.fail(text, pytrace=False)
    if check.after and check.verdict == "works":
        bare.host(check.after)
