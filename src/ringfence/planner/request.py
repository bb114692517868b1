"""What one run asks for, beside policy."""

import msgspec

from ringfence.model.paths import HostPath
from ringfence.model.plan import Mount


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One command to contain.

    `workspace` is the real path of the tree to work on; `cwd` the real working directory, in the workspace or
    not; `logical_cwd` the path the user came by, if a symlink led here; `surfaces` the names below a
    workspace that programs load by themselves (protected one by one when the workspace is bound directly). `mounts` is
    what the view has besides, on the launcher's word; `python` whether an interpreter must be in it.
    `hidden` are host paths that nobody has trusted, which do not exist on the run's overlays.
    """

    argv: tuple[str, ...]
    workspace: HostPath
    cwd: HostPath
    logical_cwd: str = ""
    surfaces: tuple[str, ...] = ()
    inside: HostPath
    mounts: tuple[Mount, ...] = ()
    python: bool = False
    hidden: tuple[str, ...] = ()
