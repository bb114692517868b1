"""ringfence contains AI coding agents, and any other command, with the operating system's own means.

    from ringfence import Policy, Sandbox

    with Sandbox(Policy({"limits": {"memory": "1GiB"}}), directory="project") as box:
        done = box.run(["python3", "-m", "pytest"], timeout_s=600)

The names below are the whole SDK; they are loaded when first used, so that importing `ringfence` costs nothing.
"""

__version__ = "0.1.0"

_PLACES = {
    "Applied": "ringfence.session.review",
    "CommandFailedError": "ringfence.session.sdk_process",
    "CommandLimits": "ringfence.session.warm",
    "CommandTimeoutError": "ringfence.session.sdk_process",
    "Completed": "ringfence.session.sdk_process",
    "FileChange": "ringfence.session.review",
    "HostError": "ringfence.model.errors",
    "InternalError": "ringfence.model.errors",
    "Policy": "ringfence.session.sdk",
    "Process": "ringfence.session.sdk",
    "RingfenceError": "ringfence.model.errors",
    "Sandbox": "ringfence.session.sdk",
    "SandboxError": "ringfence.model.errors",
    "SandboxSession": "ringfence.session.sdk_session",
    "SessionProcess": "ringfence.session.sdk_session",
    "UsageError": "ringfence.model.errors",
}

TYPE_CHECKING = False  # what a type checker sees of the lazy names
if TYPE_CHECKING:
    from .model.errors import HostError, InternalError, RingfenceError, SandboxError, UsageError
    from .session.review import Applied, FileChange
    from .session.sdk import Policy, Process, Sandbox
    from .session.sdk_process import CommandFailedError, CommandTimeoutError, Completed
    from .session.sdk_session import SandboxSession, SessionProcess
    from .session.warm import CommandLimits

__all__ = [  # noqa: RUF022 - errors last
    "Applied",
    "CommandFailedError",
    "CommandLimits",
    "CommandTimeoutError",
    "Completed",
    "FileChange",
    "Policy",
    "Process",
    "Sandbox",
    "SandboxSession",
    "SessionProcess",
    "HostError",
    "InternalError",
    "RingfenceError",
    "SandboxError",
    "UsageError",
]


def __getattr__(name: str) -> object:
    """Load a name of the SDK from where it is defined (PEP 562)."""
    if name not in _PLACES:
        raise AttributeError(f"module `ringfence` has no name `{name}`")
    from importlib import import_module

    return getattr(import_module(_PLACES[name]), name)
