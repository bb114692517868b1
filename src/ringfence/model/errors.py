"""The few exceptions, grouped by who must act on them.

A denial is never an exception: it is a `Decision`. Each class fixes the exit status of the command line; a
contained command's own status is passed through unchanged and is not an error of ours.
"""


class RingfenceError(Exception):
    """Any error that ringfence reports on purpose: one lower-case line, an optional place and remedy."""

    exit_status = 125

    def __init__(self, message: str, *, place: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.place = place
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


class UsageError(RingfenceError):
    """The user's input is wrong: an option, a policy file, a path. The user corrects it."""

    exit_status = 2


class HostError(RingfenceError):
    """This machine lacks something the boundary needs. The hint says what to install or change."""

    exit_status = 3


class SandboxError(RingfenceError):
    """The boundary could not be built or was lost, as distinct from the contained command failing."""

    exit_status = 125


class InternalError(RingfenceError):
    """A defect of ringfence itself. Please report it."""

    exit_status = 125
