"""Sockets in our own directories, whatever the length of their path, and who is at the other end. Light."""

import os

TYPE_CHECKING = False  # for type checkers only: `typing` costs 10 ms
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

CONTROL = "control"  # in a run's directory: where it listens to its operator (control.py)
HOOKS = "hooks"  # in the place of a run's name: integrations/hook_resident.py
SO_PEERCRED, SOL_SOCKET = 17, 1  # unix(7), <asm-generic/socket.h>


def at_short_path(directory: str, name: str, call: "Callable[[str], None]") -> None:
    """Call `bind` or `connect` with a path of few characters: sun_path has room for 108."""
    place = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        call(f"/proc/self/fd/{place}/{name}")
    finally:
        os.close(place)


def shown_name(run: str) -> str:
    """What the file is called that a run's supervisor shows (walls.py); a process may have many runs."""
    return f"ringfence-{run}"


def look(process: int, run: str) -> "list[int]":
    """A descriptor of what a process shows; none where we may not look into it, or it shows nothing."""
    place = f"/proc/{process}/fd"
    try:
        numbers = os.listdir(place)
    except OSError:
        return []
    for number in numbers:
        try:
            if os.readlink(f"{place}/{number}") == f"/memfd:{shown_name(run)} (deleted)":
                return [os.open(f"{place}/{number}", os.O_RDONLY | os.O_CLOEXEC)]
        except OSError:
            continue  # closed meanwhile, or not for us
    return []


def peer_pid(connected: "_socket.socket") -> int:
    """The process that listened there, or that connected; 0 for one that is not in our namespace of them."""
    return int.from_bytes(connected.getsockopt(SOL_SOCKET, SO_PEERCRED, 12)[:4], "little")


def peer_uid(connected: "_socket.socket") -> int:
    """The user of the process that connected (struct ucred: pid, uid, gid)."""
    return int.from_bytes(connected.getsockopt(SOL_SOCKET, SO_PEERCRED, 12)[4:8], "little")
