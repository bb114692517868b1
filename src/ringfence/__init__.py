"""ringfence contains AI coding agents, and any other command, with the operating system's own means.

    from ringfence import Policy, Sandbox

    with Sandbox(Policy({"limits": {"memory": "1GiB"}}), directory="project") as box:
        done = box.run(["python3", "-m", "pytest"], timeout_s=600)

The names below are the whole SDK; they are loaded when first used, so that importing `ringfence` costs nothing.
"""

__version__ = "0.1.0"

_PLACES = {
    "Applied": "ringfence.session.review",
    "CommandFailedError": "ringfence.session.sdk",
    "CommandTimeoutError": "ringfence.session.sdk",
    "Completed": "ringfence.session.sdk",
    "FileChange": "ringfence.session.review",
    "HostError": "ringfence.model.errors",
    "InternalError": "ringfence.model.errors",
    "Policy": "ringfence.session.sdk",
    "Process": "ringfence.session.sdk",
    "RingfenceError": "ringfence.model.errors",
    "Sandbox": "ringfence.session.sdk",
    "SandboxError": "ringfence.model.errors",
    "UsageError": "ringfence.model.errors",
}

TYPE_CHECKING = False  # what a type checker sees of the lazy names
if TYPE_CHECKING:
    from .model.errors import HostError, InternalError, RingfenceError, SandboxError, UsageError
    from .session.review import Applied, FileChange
    from .session.sdk import CommandFailedError, CommandTimeoutError, Completed, Policy, Process, Sandbox

__all__ = [  # noqa: RUF022 - errors last
    "Applied",
    "CommandFailedError",
    "CommandTimeoutError",
    "Completed",
    "FileChange",
    "Policy",
    "Process",
    "Sandbox",
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
