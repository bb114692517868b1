"""Why a boundary could not be built, and whether it can be built in another way."""

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
