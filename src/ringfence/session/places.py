"""Where ringfence keeps its files on the host (XDG base directory specification). Light: the hot path imports it."""

import os

from ringfence import __version__
from ringfence.model.errors import HostError

TYPE_CHECKING = False  # for type checkers only: `typing` costs 10 ms on the hot path
if TYPE_CHECKING:
    from collections.abc import Callable

MANAGED_POLICY = "/etc/ringfence/policy.toml"
OVERFLOW_UID = 65534  # who owns what belongs to nobody in our user namespace
ELSEWHERE = "runs-elsewhere"


def home() -> str:
    """The home directory: $HOME where it is an absolute path to a directory, else the account's."""
    return _named()[0] or account_home()


def account_home() -> str:
    """The home directory of the account."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return "/nonexistent"


def own_home() -> str:
    """Where to write: root's own home, where root was left with somebody else's (`sudo` that keeps HOME).

    What root makes there would lock its owner out.
    """
    found, owner = _named()
    return found if found and (os.geteuid() or owner in (0, OVERFLOW_UID)) else account_home()


def _named() -> "tuple[str, int]":
    """$HOME and who owns it; empty where that is no absolute path to a directory."""
    named = os.environ.get("HOME", "")
    try:
        found = os.stat(named)
    except (OSError, ValueError):
        return "", 0
    is_usable = named.startswith("/") and found.st_mode & 0o170000 == 0o040000
    return (named, found.st_uid) if is_usable else ("", 0)


def _base(variable: str, default: str, where: "Callable[[], str]" = own_home) -> str:
    value = os.environ.get(variable, "")
    if not value.startswith("/"):
        value = f"{where()}/{default}"
    return value + "/ringfence"


def state() -> str:
    """Runs and audit."""
    return _base("XDG_STATE_HOME", ".local/state")


def cache() -> str:
    """What can be deleted at any time."""
    return _base("XDG_CACHE_HOME", ".cache")


def user_policy() -> str:
    """The user's own policy file."""
    return _base("XDG_CONFIG_HOME", ".config", home) + "/policy.toml"


def trust() -> str:
    """The user's decisions about checkouts."""
    return _base("XDG_DATA_HOME", ".local/share") + "/trust"


def audit() -> str:
    """The audit's directory."""
    return state() + "/audit"


def runs() -> str:
    """The runs' directory: in the state directory, or where `session/elsewhere.py` found that layers can lie.

    Raises HostError if somebody else made that place.
    """
    own = state()
    place = elsewhere(own)
    if not place:
        return own + "/runs"
    parent = os.path.dirname(place)
    try:
        os.mkdir(parent, 0o700)
    except FileExistsError:
        found = os.lstat(parent)
        # SECURITY: /dev/shm belongs to everybody, and what lies there decides what is applied.
        if found.st_uid != os.geteuid() or found.st_mode & 0o170077 != 0o040000:
            raise HostError(f"`{parent}` is not a private directory of yours", hint="remove it") from None
    return place


def elsewhere(own: str) -> str:
    """The place of runs that was found for the state directory `own`; empty where they lie in it."""
    try:
        descriptor = os.open(f"{own}/{ELSEWHERE}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.fsdecode(os.read(descriptor, 4096))
    finally:
        os.close(descriptor)


def project_policy(workspace: str) -> str:
    """The project's policy file, which can only tighten."""
    return workspace + "/ringfence.toml"


def installed_version() -> str:
    """What tells one installation from another, an edited tree included: its version and its folders' times.

    It is that of the code that runs, so it is looked up once: what is installed later is another installation.
    """
    if not _installed:
        _installed.append(f"{__version__} {folder_times(('inside', 'planner', 'policy', 'sandbox', 'session'))}")
    return _installed[0]


_installed: "list[str]" = []


def folder_times(names: "tuple[str, ...]") -> "list[int]":
    """When a file was last added to folders of the package, taken away, or replaced by a new one of its name.

    Python adds one itself, its folder of compiled modules, at the first import from a checkout. It is made here before
    the time is read, or the second run would be taken for one of another installation. Whatever our environment says of
    that folder: the processes that we leave behind do not read it.
    """
    root = os.path.dirname(os.path.dirname(__file__))
    found = []
    for name in names:
        folder = f"{root}/{name}"
        if not os.path.isdir(f"{folder}/__pycache__"):
            try:
                os.mkdir(f"{folder}/__pycache__")
            except OSError:
                pass  # ours is not to write there, and neither is Python's
        found.append(os.stat(folder).st_mtime_ns)
    return found
