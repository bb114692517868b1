"""What a run was asked for and cannot have: paths that are not there, variables that are not set, interpreters.

A typing mistake would otherwise show as a failure of the command, which knows nothing of the option. Only said to
somebody who looks on: at a terminal, with `-v`, and by `explain` and `plan`.

Import budget (tests/unit/cli/test_unmet.py): what `ringfence run` has loaded anyway.
"""

import os
import stat

from ringfence.session.run import working_directory

TYPE_CHECKING = False  # for type checkers only: `typing` costs 10 ms
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ringfence.session.options import Options
    from ringfence.session.prepare import Prepared

_PATTERN = frozenset("*?[\\!$")
_SHEBANG_BYTES = 256  # BINPRM_BUF_SIZE of <linux/binfmts.h>: what the kernel reads of a script's first line
# What tells an environment of Python from any other directory, by the variable that names the active one.
_MARKS = (("VIRTUAL_ENV", "pyvenv.cfg"), ("CONDA_PREFIX", "conda-meta"))


class View:
    """What has to be known of a view: the host's places in it, and its variables (None: the value passes)."""

    def __init__(self, places: "Sequence[str]", variables: "Mapping[str, str | None]") -> None:
        self.places = places
        self.variables = variables

    def shows(self, path: str) -> bool:
        """Whether the host's `path` is in the view."""
        return any(path == place or path.startswith(f"{place}/") for place in self.places)


def view_of(prepared: "Prepared") -> View:
    """The view of a plan."""
    shown = [mount.target for mount in prepared.plan.mounts if mount.kind.value in ("bind", "ro-bind", "overlay")]
    return View(shown, {item.name: item.value for item in prepared.plan.environment})


def wishes(options: "Options", view: View, present: "Mapping[str, str]") -> "Iterator[str]":
    """One line for each option that has no effect, and for an active environment that is not seen."""
    here = working_directory(options)
    for name, given in (("--read", options.read), ("--write", options.write)):
        for path in given:
            if _PATTERN.isdisjoint(path) and not exists(os.path.join(here, os.path.expanduser(path))):
                yield f"`{name} {path}` shows nothing: there is no such file or directory"
    for name in options.env:
        passes = view.variables.get(name) is None and not name.endswith("*")
        if passes and name not in present:
            yield f"`--env {name}` passes nothing: it is not set here"
    for name, mark in _MARKS:
        place = present.get(name, "")
        passes = view.variables.get(name, "") is None
        if passes and exists(f"{place}/{mark}") and not view.shows(os.path.realpath(place)):
            shown = f"`--read {quoted(place)}` shows it"
            yield f"the environment `{place}` is not seen inside, so `python3` is another: {shown}"


def quoted(word: str) -> str:
    """`word` as a shell reads it."""
    from shlex import quote  # 2 ms with `re`, where there is something to say

    return quote(word)


def exists(path: str) -> bool:
    """Whether `path` leads to something; true where that cannot be told."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        return True
    return True


def interpreter(program: str, directory: str, view: View) -> str:
    """Say what the host's `program` lacks to be started, if that is its interpreter or where it leads; else nothing."""
    path = os.path.join(directory, program)
    if " " in program and not exists(path):
        return f"`{program}` is one word, and no shell reads it: `sh -c {quoted(program)}` has one do so"
    if "/" not in program:
        return ""
    needed = script_interpreter(path)
    missing = dangling(path) or (needed and dangling(needed))
    if missing == path:
        return ""
    if not missing:
        return unseen(program, [os.path.realpath(name) for name in (path, needed) if name], view)
    said = f"`{program}` needs `{missing}`, which is not there"
    if not missing.startswith(f"{directory}/"):
        return said
    name = quoted(os.path.relpath(missing, directory))
    return f"{said}; if a run made it and `ringfence diff` shows it as held: `ringfence apply --held {name}`"


def unseen(program: str, needed: "Sequence[str]", view: View) -> str:
    """Say which of the host's files in `needed` is not in the view; no advice, for a script names whatever it likes."""
    for path in needed:
        if not view.shows(path):
            which = f"`{program}`" if path == os.path.normpath(program) else f"`{program}` needs `{path}`, which"
            return f"{which} is not seen inside: `ringfence explain {quoted(path)}` says why"
    return ""


def dangling(path: str) -> str:
    """The first thing on the way along the links from `path` that is not there; empty where there is none."""
    for _ in range(40):
        try:
            found = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return path
        except (OSError, ValueError):
            return ""
        if not stat.S_ISLNK(found.st_mode):
            return ""
        path = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))
    return ""


def script_interpreter(path: str) -> str:
    """The program named in the first line of the script `path`; empty for anything else."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY), "rb") as file:
            line = file.read(_SHEBANG_BYTES).partition(b"\n")[0]
    except OSError:
        return ""
    words = line[2:].split() if line.startswith(b"#!") else []
    return os.fsdecode(words[0]) if words and words[0].startswith(b"/") else ""
