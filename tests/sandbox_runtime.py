"""A working directory, a home with canaries and a settings file, for tests of `ringfence srt`."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.house.sources import ROOT
from tests.lab import Lab

TIMEOUT_S = 60
RINGFENCE = "from ringfence.cli.entry import main; main()"
# keyctl(2), add_key(2) on x86_64: a session keyring of our own that holds one key, as a login session has it.
WITH_KEY = """
import ctypes
libc = ctypes.CDLL(None)
assert libc.syscall(250, 1, None) > 0
assert libc.syscall(248, b"user", b"hostk", b"HOST-SECRET", 11, -3) > 0
"""
CANARIES = {".ssh/id_rsa": "CANARY-SSH\n", ".aws/credentials": "CANARY-AWS\n", "note.txt": "NOTE\n"}


def settings(**filesystem: object) -> dict[str, object]:
    """Settings that open nothing but what is named: `allowWrite=["."]` and the like."""
    lists = {"denyRead": [], "allowWrite": [], "denyWrite": [], **filesystem}
    return {"network": {"allowedDomains": [], "deniedDomains": []}, "filesystem": lists}


class Place:
    """`work` is the working directory, beside it `home` and ringfence's own state.

    With a lab everything runs in it, and `{LAB}` in texts stands for its directory.
    """

    def __init__(self, root: Path, lab: Lab | None = None) -> None:
        self.root, self.work, self.home = root, root / "w", root / "h"
        self.lab = lab
        self.work.mkdir()
        for name, text in CANARIES.items():
            (self.home / name).parent.mkdir(parents=True, exist_ok=True)
            (self.home / name).write_text(text)
        given = os.environ if lab is None else lab.environment()
        kept = {name: value for name, value in given.items() if not name.startswith("XDG_")}
        own = {"HOME": self.home, "H": self.home, "W": self.work, "XDG_STATE_HOME": root / "state"}
        self.environment = kept | {name: str(path) for name, path in own.items()} | {"PYTHONPATH": str(ROOT / "src")}

    def shell(self, text: str) -> subprocess.CompletedProcess[str]:
        """Run `text` unconfined."""
        return self._run(["bash", "-c", text], {}, "")

    def srt(
        self,
        found: object,
        words: Sequence[str] | str,
        *,
        environment: Mapping[str, str] = {},
        stdin: str = "",
        before: str = "",
        options: Sequence[str] = (),
    ) -> subprocess.CompletedProcess[str]:
        """Run a command, as a text for `-c` or as words, under settings given as an object or as text."""
        file = self.root / "settings.json"
        file.write_text(self._text(found if isinstance(found, str) else json.dumps(found)))
        command = ["-c", words] if isinstance(words, str) else list(words)
        argv = [sys.executable, "-c", before + RINGFENCE, "srt", *options, "-s", str(file), *command]
        return self._run(argv, environment, stdin)

    def _text(self, text: str) -> str:
        return text if self.lab is None else self.lab.text(text)

    def _run(self, argv: list[str], more: Mapping[str, str], stdin: str) -> subprocess.CompletedProcess[str]:
        words = [self._text(word) for word in argv]
        return subprocess.run(
            words if self.lab is None else self.lab.words(words, cwd=self.work),
            cwd=self.work,
            env={**self.environment, **{name: self._text(value) for name, value in more.items()}},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
