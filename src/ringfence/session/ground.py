"""What a run stands on: its directory, the layers in it, and what denied paths are covered by. On the hot path."""

import os
import time

from ringfence.sandbox import launch
from ringfence.workspace import layout

TYPE_CHECKING = False  # for type checkers only: `typing` costs 10 ms on the hot path
if TYPE_CHECKING:
    from ringfence.sandbox.artefact import Artefact
    from ringfence.workspace.layout import Created


ASIDE = "-waiting"  # beside the runs, what is no run: boundaries that wait (pool.py), and what is about to be removed


class Ground:
    """One run's directory, made for an artefact.

    `skeleton`: directories, by number of their layer, that were made only to put something below; `stand_ins`: what
    covers are mounted on, until they are.
    """

    __slots__ = ("artefact", "created", "skeleton", "stand_ins")

    def __init__(self, artefact: "Artefact", runs: str, argv0: str) -> None:
        self.artefact = artefact
        self.created = layout.create(runs, workspace=artefact.workspace[0], argv0=argv0)
        self.skeleton: list[tuple[int, str]] = []
        self.stand_ins: list[str] = []
        self.furnish()

    @property
    def directory(self) -> str:
        """The run's own directory."""
        return self.created.directory

    def uppers(self) -> "list[str]":
        """The upper layers of this run."""
        return [
            f"{self.directory}/upper.{number}" if number else f"{self.directory}/upper"
            for number in range(len(self.artefact.lowers))
        ]

    def furnish(self) -> None:
        """Make the layers and what denied paths are covered by."""
        artefact, directory = self.artefact, self.directory
        for number, lower in enumerate(artefact.lowers):
            if number:
                layout.make_layers(directory, number, lower)
        for name in launch.empty_directories(artefact):
            os.mkdir(f"{directory}/{name}", 0o555)
        for name, mode in (("absent", 0o444), ("unreadable", 0), *((name, 0o644) for name in artefact.run_files)):
            os.close(os.open(f"{directory}/{name}", os.O_CREAT | os.O_WRONLY, mode))
        uppers = self.uppers()
        for number, relative, is_directory in artefact.covers:
            self.stand_in(uppers[number], number, relative, is_directory)
        if artefact.idmap:
            made = [f"{uppers[number]}/{part}" for number, part in self.skeleton]
            for path in (directory, *(entry.path for entry in os.scandir(directory)), *made, *self.stand_ins):
                os.chown(path, *artefact.owner, follow_symlinks=False)
        if artefact.whiteouts:
            from . import hiding, wiring

            wiring.remember(directory, artefact)  # SECURITY: before a whiteout could be taken for a deletion
            hiding.hide(artefact, uppers)

    def stand_in(self, upper: str, number: int, relative: str, is_directory: bool) -> None:
        """Something to mount a cover on, in an upper layer; parents look like those they hide."""
        lower = self.artefact.lowers[number]
        parents = relative.split("/")[:-1]
        for depth in range(len(parents)):
            part = "/".join(parents[: depth + 1])
            if not os.path.isdir(f"{upper}/{part}"):
                os.mkdir(f"{upper}/{part}")
                self.skeleton.append((number, part))
                if os.path.isdir(f"{lower}/{part}") and not os.path.islink(f"{lower}/{part}"):
                    os.chmod(f"{upper}/{part}", os.stat(f"{lower}/{part}").st_mode & 0o7777)
        place = f"{upper}/{relative}"
        if is_directory:
            os.mkdir(place)
        else:
            os.close(os.open(place, os.O_CREAT | os.O_WRONLY, 0o444))
        self.stand_ins.append(place)

    def remove_stand_ins(self) -> None:
        """Take the stand-ins away: the mounts on them stay, the names vanish from every listing."""
        while self.stand_ins:
            place = self.stand_ins.pop()
            try:
                os.unlink(place)
            except IsADirectoryError:
                os.rmdir(place)
            except FileNotFoundError:
                pass

    def move(self, runs: str, argv0: str) -> None:
        """Become a run of `runs` that begins now; what is mounted from the directory stays mounted.

        Preconditions: `runs` is on the same file system, and no stand-in is left.
        """
        run = layout.new_run()
        workspace = self.artefact.workspace[0]
        layout.write_metadata(self.directory, workspace, argv0, state="running", start_ns=time.time_ns())
        rename_into(runs, self.directory, run)
        self.created.run, self.created.directory = run, f"{runs}/{run}"


def rename_into(directory: str, path: str, name: str) -> None:
    """Put `path` into `directory`, which is made if need be, as `name`; raise OSError."""
    try:
        os.rename(path, f"{directory}/{name}")
    except FileNotFoundError:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        os.rename(path, f"{directory}/{name}")


def withdraw(created: "Created") -> None:
    """Put the directory of a run that left nothing out of sight, to be removed in a moment, or from where it is."""
    aside = os.path.dirname(created.directory) + ASIDE
    try:
        rename_into(aside, created.directory, "." + created.run)
    except OSError:
        return  # a full disk: nothing of the run hangs on it
    created.directory = f"{aside}/.{created.run}"
