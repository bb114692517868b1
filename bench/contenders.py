"""What is compared: command lines that run `true` in one or another sandbox on this host, if installed."""

import json
import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from ringfence.sandbox import facts, launch
from ringfence.session import prepare
from ringfence.session.options import Options

TRUE = "/bin/true"
MASKS = 60  # as an agent profile that hides secrets one by one needs


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One command line. `files` are descriptors it reads to their end, so they are rewound before each run."""

    name: str
    argv: list[str]
    files: tuple[int, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    def rewind(self) -> None:
        """Make the next run see the files from their start."""
        for descriptor in self.files:
            os.lseek(descriptor, 0, os.SEEK_SET)


def bubblewrap_typical(directory: str) -> Contender:
    """Raw bubblewrap with the profile agents are usually given: read-only root, 60 masks, all namespaces."""
    masks: list[str] = []
    for place in ("/etc", "/usr/bin"):
        files = sorted(entry.path for entry in os.scandir(place) if entry.is_file(follow_symlinks=False))
        masks += files[: MASKS // 2]
    words = "--unshare-all --die-with-parent --ro-bind / / --dev /dev --proc /proc --tmpfs /tmp".split()
    words += ["--bind", directory, directory]
    for path in masks:
        words += ["--ro-bind", "/dev/null", path]
    return Contender(name=f"bubblewrap, {MASKS} masks", argv=[facts.bubblewrap(), *words, "--", TRUE])


def bubblewrap_same(directory: str, run: str) -> Contender:
    """Raw bubblewrap with ringfence's own view, mount by mount, and nothing else of ours."""
    artefact = prepare.artefact(prepare.prepare(Options(), [TRUE], directory, directory))
    for name in ("upper", "work", "empty-directory"):
        Path(run, name).mkdir(parents=True, exist_ok=True)
    places = {f"@source:{number}": path for number, (path, _) in enumerate(artefact.sources)}
    places |= {"@upper:0": f"{run}/upper", "@work:0": f"{run}/work", "@empty-directory": f"{run}/empty-directory"}
    files = [launch.memory_file("file", text.encode()) for text in artefact.files]
    words = launch.substitute(artefact.arguments, files, places)
    argv = [facts.bubblewrap(), *words[: words.index("--")], "--", TRUE]
    return Contender(name="bubblewrap, ringfence's view", argv=argv, files=tuple(files))


def ringfence() -> list[Contender]:
    """The command that is installed beside the running interpreter, on every path that a run can take."""
    place = os.path.dirname(sys.executable)
    python = os.path.join(place, "ringfence-python")
    native = os.path.join(place, "ringfence")
    found = [
        Contender(name="ringfence run, cold", argv=[native, "run", TRUE], environment={"RINGFENCE_SUPERVISOR": "0"}),
        Contender(name="ringfence run, supervised, Python client", argv=[python, "run", TRUE]),
    ]
    if Path(native).read_bytes()[:4] == b"\x7fELF":
        found.append(Contender(name="ringfence run, supervised, native client", argv=[native, "run", TRUE]))
    return found


def peers(place: str) -> list[Contender]:
    """Rival sandboxes that are installed by name."""
    settings = Path(place, "srt.json")
    rules = {"denyRead": ["~/.ssh"], "allowWrite": ["."], "denyWrite": []}
    settings.write_text(json.dumps({"network": {"allowedDomains": [], "deniedDomains": []}, "filesystem": rules}))
    known = {
        "srt": ["srt", "-s", str(settings), "-c", "true"],
        "zerobox": ["zerobox", TRUE],
        "codex sandbox": ["codex", "sandbox", TRUE],
        "firejail": ["firejail", "--quiet", "--net=none", TRUE],
    }
    return [Contender(name=name, argv=argv) for name, argv in known.items() if shutil.which(argv[0])]
