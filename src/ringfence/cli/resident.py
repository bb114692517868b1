"""The resident supervisor's process: runs of `ringfence run`, reported as the command itself reports them."""

from ringfence.session import resident_server

from . import entry, run

TYPE_CHECKING = False  # for type checkers only
if TYPE_CHECKING:
    from collections.abc import Callable

    from ringfence.session.options import Options
    from ringfence.session.run import Finished


def main() -> None:
    """Serve; see session/resident_server.py."""
    resident_server.main(resident_server.Face(run.prepared, answer, run.remark))


def answer(call: "Callable[[], tuple[Options, Finished]]") -> int:
    """The exit status of a run, errors and last lines having been written to standard error."""
    return entry.guarded(lambda: run.concluded(*call()))
