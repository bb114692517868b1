"""Why a boundary could not be built, and whether it can be built in another way."""

import errno
import os

from ringfence.model.errors import HostError, RingfenceError, SandboxError
from ringfence.sandbox import doctor, launch
from ringfence.workspace import removal

from . import elsewhere, places
from .run import LEAST_FILES, too_few_files


class LayersMovedError(HostError):
    """The layers of runs lie elsewhere from now on: the same run can be tried again."""


def failure(boundary: launch.Boundary, directory: str) -> RingfenceError:
    """The error for a boundary that ended before it was ready; bubblewrap has said why on standard error."""
    _, status = os.waitpid(boundary.monitor, 0)
    removal.remove_tree(directory)
    if os.sysconf("SC_OPEN_MAX") < LEAST_FILES:
        return too_few_files()
    found = doctor.cause(doctor.diagnose(places.state()))
    if found and found.name == doctor.OVERLAY and (place := elsewhere.move()):
        return LayersMovedError(
            f"copy-on-write layers cannot lie in `{places.state()}`; they lie in `{place}` from now on"
        )
    if found:
        return HostError(f"{found.name}: {found.detail}", hint=found.remedy)
    return SandboxError(
        f"the boundary could not be built (status {os.waitstatus_to_exitcode(status)})",
        hint="`ringfence doctor` tests each part of it and says what to change",
    )


def refused(error: OSError) -> SandboxError:
    """The error for a system call of ours that failed, with the path where one is known, and what helps."""
    state, path = places.state(), error.filename if isinstance(error.filename, str) else ""
    hint = "`ringfence doctor` tests this host; `ringfence runs` lists what can still be applied"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = f"free some space where `{state}` lies, or point XDG_STATE_HOME at a file system that has some"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) and path and _on_the_way(path, state):
        hint = "point XDG_STATE_HOME at a directory that you may write to"
    what = f"`{path}`: {error.strerror}" if path else error.strerror or error
    return SandboxError(f"the boundary could not be built or was lost: {what}", hint=hint)


def _on_the_way(path: str, to: str) -> bool:
    """Whether `path` is `to`, below it or above it."""
    return f"{path}/".startswith(f"{to}/") or f"{to}/".startswith(f"{path}/")
