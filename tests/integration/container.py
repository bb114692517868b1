"""The container of deploy/, built from a Debian made here, in a store of the test's own.

`Engine` is podman with what it needs where it may not raise limits of its own, as in a container. Everything it keeps
lies below one directory, which several workers share: the first builds, and the last one removes it.
"""

import fcntl
import os
import shutil
import subprocess
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.house.sources import ROOT
from tests.lab import Lab

BASE = "localhost/ringfence-base:test"
IMAGE = "localhost/ringfence:test"
BUILD_TIMEOUT_S = 500
RUN_TIMEOUT_S = 300
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
# Without one of them podman would take a higher limit than it may.
LIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096")
HARDENED = ("--cap-drop=ALL", "--security-opt=no-new-privileges")


class Engine:
    """podman, with its store below `place`."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.seccomp = place / "seccomp.json"

    def words(self, *words: str) -> list[str]:
        """The command line of podman for `words`."""
        stores = [f"--root={self.place}/store", f"--runroot={self.place}/run"]
        return ["podman", *stores, "--cgroup-manager=cgroupfs", "--runtime=runc", *words]

    def __call__(self, *words: str, timeout_s: float = RUN_TIMEOUT_S) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.words(*words), cwd=ROOT, capture_output=True, text=True, timeout=timeout_s)

    def build(self) -> None:
        """Make the base and the image; skip where podman does not start anything here."""
        debian = subprocess.Popen(
            ["mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates", "bookworm", "-"],
            stdout=subprocess.PIPE,
            start_new_session=True,  # it hangs up on its whole process group when it ends
        )
        with debian:
            imported = subprocess.run(self.words("import", "-", BASE), stdin=debian.stdout, capture_output=True)
        assert (debian.returncode, imported.returncode) == (0, 0), imported.stderr
        tried = self("run", "--rm", "--network=none", *LIMITS, BASE, "true")
        if tried.returncode:
            pytest.skip(f"podman starts no container here: {tried.stderr.strip()}")
        trusting = f"--volume={AUTHORITIES}:{AUTHORITIES}:ro"  # as this machine does, whatever its way out is
        words = ["build", "--isolation=chroot", "--network=host", trusting, f"--build-arg=BASE={BASE}"]
        built = self(*words, f"--tag={IMAGE}", "--file=deploy/Dockerfile", ".", timeout_s=BUILD_TIMEOUT_S)
        assert built.returncode == 0, built.stderr[-4000:]
        with open("/usr/share/containers/seccomp.json", "rb") as default, open(self.seccomp, "wb") as profile:
            subprocess.run([ROOT / "deploy/seccomp"], stdin=default, stdout=profile, check=True)

    def run_words(self, workspace: Path, options: Sequence[str], words: Sequence[str]) -> list[str]:
        """The command line that starts `words` in a container of its own."""
        mounted = f"--volume={workspace}:/workspace"
        return self.words("run", "--rm", *LIMITS, *HARDENED, mounted, *options, IMAGE, *words)

    @property
    def let(self) -> tuple[str, ...]:
        """What docs/containers.md asks of the engine."""
        return ("--security-opt=systempaths=unconfined", f"--security-opt=seccomp={self.seccomp}")

    def remove(self) -> None:
        """Leave nothing."""
        self("rmi", "--all", "--force")
        self("unmount", "--all", "--force")
        shutil.rmtree(self.place, ignore_errors=True)


@contextmanager
def shared(parent: Path) -> Iterator[Engine]:
    """An engine whose image is built, for every worker that shares `parent`."""
    parent.mkdir(exist_ok=True)
    with open(parent / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # In /tmp and short: podman refuses a longer place for what lives as long as a container.
        engine = Engine(Path(f"/tmp/ringfence-{zlib.crc32(os.fsencode(parent)):08x}"))
        if not (engine.place / "built").exists():
            engine.place.mkdir(exist_ok=True)
            try:
                engine.build()
            except BaseException:
                engine.remove()
                raise
            (engine.place / "built").touch()
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield engine
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        engine.remove()


class Container:
    """Starts containers on the host side of a lab, over a workspace that the user in them owns."""

    def __init__(self, engine: Engine, lab: Lab, workspace: Path) -> None:
        self.engine, self.lab, self.workspace = engine, lab, workspace
        os.chown(workspace, 1000, 1000)

    def write(self, name: str, text: str) -> None:
        """Make a file in the workspace."""
        (self.workspace / name).write_text(text)
        os.chown(self.workspace / name, 1000, 1000)

    def __call__(
        self, *words: str, options: Sequence[str] | None = None, environment: Mapping[str, str] = {}
    ) -> subprocess.CompletedProcess[str]:
        """Run `words`; `options` in place of those that docs/containers.md asks for."""
        chosen = [*(self.engine.let if options is None else options), "--network=host"]
        chosen += [f"--volume={self.lab.place}/ca.crt:{AUTHORITIES}:ro", "--env=RINGFENCE_STANDBY=0"]
        chosen += [f"--env={name}={value}" for name, value in environment.items()]
        return self.lab.run(self.engine.run_words(self.workspace, chosen, words), timeout_s=RUN_TIMEOUT_S)
