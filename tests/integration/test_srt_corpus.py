"""Settings files of sandbox-runtime do what they do there, or better: measured cases, one by one, as root and not.

The corpus holds what sandbox-runtime 0.0.83 did (`parity`), and what it lacks and its users ask for (`better`). It is
read from beside the repository where that has it, else from the copy of the cases that need no network.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.house.sources import ROOT

SHARED = ROOT.parent / "shared/corpora/srt-behaviour-dev.jsonl"
CORPUS = SHARED if SHARED.is_file() else ROOT / "tests/data/srt-behaviour-dev.jsonl"
CASES = [json.loads(line) for line in CORPUS.read_text("utf-8").splitlines()]
TIMEOUT_S = 60
RINGFENCE = "import sys; from ringfence.cli.entry import main; main()"
# keyctl(2), add_key(2) on x86_64: a session keyring of our own that holds one key, as a login session has it.
WITH_KEY = """
import ctypes, sys
libc = ctypes.CDLL(None)
assert libc.syscall(250, 1, None) > 0
assert libc.syscall(248, b"user", b"hostk", b"HOST-SECRET", 11, -3) > 0
from ringfence.cli.entry import main
main()
"""

pytestmark = [
    pytest.mark.require("bubblewrap"),
    pytest.mark.require("userns"),
    pytest.mark.require("overlay"),
    pytest.mark.require("git"),
]


class Place:
    """A working directory and a home with canaries, and the environment that points at them."""

    def __init__(self, root: Path) -> None:
        self.work, self.home, self.settings = root / "w", root / "h", root / "settings.json"
        self.work.mkdir()
        for name, text in {
            ".ssh/id_rsa": "CANARY-SSH\n",
            ".aws/credentials": "CANARY-AWS\n",
            "note.txt": "NOTE\n",
        }.items():
            (self.home / name).parent.mkdir(parents=True, exist_ok=True)
            (self.home / name).write_text(text)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
        own = {"HOME": str(self.home), "H": str(self.home), "W": str(self.work), "PYTHONPATH": str(ROOT / "src")}
        self.environment = kept | own

    def shell(self, text: str) -> subprocess.CompletedProcess[str]:
        return self._run(["bash", "-c", text], {}, None)

    def ringfence(self, case: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        settings = case["cfg"]
        self.settings.write_text(settings if isinstance(settings, str) else json.dumps(settings))
        wrapper = WITH_KEY if case.get("setup") == "#keyring" else RINGFENCE
        words = ["-c", case["cmd"]] if case.get("cmd") is not None else case["argv"]
        argv = [sys.executable, "-c", wrapper, "srt", "-s", str(self.settings), *words]
        return self._run(argv, case.get("env") or {}, case.get("stdin"))

    def _run(self, argv: list[str], more: dict[str, str], stdin: str | None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv,
            cwd=self.work,
            env=self.environment | more,
            input=stdin or "",
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_case(case: dict[str, Any], tmp_path: Path) -> None:
    if case["lab"]:
        pytest.skip("needs egress: the network is off")
    place = Place(tmp_path)
    if case.get("setup") and not case["setup"].startswith("#"):
        done = place.shell(case["setup"])
        assert done.returncode == 0, f"setup: {done.stderr}"
    done = place.ringfence(case)
    seen = f"status {done.returncode}\n{done.stdout[:2000]}\n{done.stderr[:2000]}"
    if case["rc"] == "nz":
        assert done.returncode != 0, seen
    elif case["rc"] != "any":
        assert done.returncode == case["rc"], seen
    for text in case.get("out") or ():
        assert text in done.stdout, seen
    for text in case.get("nout") or ():
        assert text not in done.stdout and text not in done.stderr, seen
    if case.get("post"):
        after = place.shell(case["post"])
        assert after.returncode == 0, f"afterwards: {after.stdout}{after.stderr}\n{seen}"
