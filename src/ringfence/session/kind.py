"""What kind a request is of: those of one kind can have each other's boundary, if the host is as it was.

Theory of operation. A kind is known by its key in the launch cache. To find that out takes looking for the workspace,
the home directory and the places of our files, step by step. So what the key was made from is kept beside it: what it
took from the process (`Given`), and what was seen of the paths on the way. Where both are as they were the key is, too.

SECURITY: what was seen of the paths is noted before the key is made, so nothing can change in between unnoticed. Where
a path leads through a link, or is relative, nothing is noted, and the key is made anew each time.
"""

import os

from . import cache, look, places
from . import run as session
from .options import Options, workspace_of

TYPE_CHECKING = False  # for type checkers only
if TYPE_CHECKING:
    from .outlook import Outlook

VARIABLES = ("HOME", "PWD", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME")

Given = tuple[object, ...]


class Kind:
    """The kind of a request, under this process's environment and in its directory.

    `seen`: what is known of the paths that its key was made from; empty where it is to be made anew each time.
    """

    def __init__(self, options: Options) -> None:
        """Raise UsageError where there is no directory to work in."""
        self.given = given(options)
        self.seen = seen(options)
        self.directory, self.key = key_of(options)
        self.entry = cache.entry(self.key)
        if self.seen and self.entry and self.entry.file:
            self.seen.append((look.FILE, cache.file_of(self.key), self.entry.file))

    def is_of(self, options: Options, outlook: "Outlook") -> bool:
        """Whether a request is of this kind, and what stands for it what would be built now; may raise OSError.

        `outlook` was made with `seen`.
        """
        if self.entry is None:
            return False
        if self.seen and given(options) == self.given and outlook.is_plainly_the_same():
            return True
        _, key = key_of(options)
        return key == self.key and cache.kept_file(key) == self.entry.file and outlook.holds()


def key_of(options: Options) -> "tuple[str, str]":
    """The directory to work in, and the key of such a request."""
    directory = session.working_directory(options)
    return directory, session.request_key(options, directory, workspace_of(directory))


def given(options: Options) -> Given:
    """All that a key takes from the process; raise UsageError where there is no directory to work in."""
    directory = options.directory or session.working_directory(options)
    return (directory, os.getuid(), os.geteuid(), options.key(), *map(os.environ.get, VARIABLES))


def seen(options: Options) -> "list[look.Known]":
    """What there is of the paths that a key is made from; empty where any of them is not what it is called."""
    home, logical = os.environ.get("HOME", ""), os.environ.get("PWD", "")
    directory = options.directory or session.working_directory(options)
    is_plain = options.directory or logical in ("", directory)
    is_own = places.own_home() == home  # else the account's, which is looked up elsewhere
    if not (is_plain and is_own and is_real(home) and is_real(directory) and (options.policy or "/").startswith("/")):
        return []
    paths = {*above(home), *above(directory), *(f"{place}/.git" for place in above(directory))}
    return [look.known(path) for path in sorted(paths)]


def is_real(path: str) -> bool:
    """Whether a path is absolute, without links in it, and that of a directory below the root."""
    return path.startswith("/") and path != "/" and os.path.realpath(path) == path and os.path.isdir(path)


def above(path: str) -> "list[str]":
    """A path and all above it but for the root."""
    found = []
    while path != "/":
        found.append(path)
        path = os.path.dirname(path)
    return found
