"""What the resident supervisor has loaded before it forks, and whether that is still what lies on disk."""

import os
import sys


def load() -> None:
    """Import what every run needs from its start to its end; what only some need is loaded by those."""
    from ringfence.sandbox import artefact, cgroup, disk, notify, supervise, watch  # noqa: F401 - see above
    from ringfence.workspace import removal  # noqa: F401 - see above

    from . import cache, ground, run, tainting, terminal, wiring  # noqa: F401 - see above


def files() -> "list[str]":
    """The files that our code came from."""
    root = os.path.dirname(os.path.dirname(__file__)) + "/"
    found = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
    return [path for path in found if path.startswith(root)]


class Code:
    """The files that our code came from, as they are now."""

    def __init__(self) -> None:
        from . import look

        self.files = files()
        self.was = stamps(self.files)
        self.together = look.Look([look.known(path) for path in self.files])

    def is_the_same(self) -> bool:
        """Whether that is still what lies on disk."""
        return self.together.is_the_same() or stamps(self.files) == self.was


def stamps(paths: "list[str]") -> "list[tuple[int, int, int]]":
    """What tells whether files are the same; empty where one has gone."""
    try:
        found = [os.stat(path) for path in paths]
    except OSError:
        return []
    return [(status.st_ino, status.st_size, status.st_mtime_ns) for status in found]
