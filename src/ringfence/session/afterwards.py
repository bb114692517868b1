"""What a run leaves to be done once whoever waited has its answer: records to disk, the rest of its boundary away."""

from ringfence.model.errors import RingfenceError

TYPE_CHECKING = False  # for type checkers only
if TYPE_CHECKING:
    from collections.abc import Callable

UNFINISHED = 74  # status of a process whose run could not be finished after its answer (EX_IOERR of <sysexits.h>)


def carry_out(steps: "list[Callable[[], object]]") -> bool:
    """Take every step of `Run.put_off`, also behind one that fails; whether all went well.

    Nobody is left who could be told of a failure, so whoever serves runs in this way must not go on doing so: the next
    run is then carried out, and meets what is wrong, in front of whoever waits for it.
    """
    is_well = True
    while steps:
        try:
            steps.pop()()
        except (RingfenceError, OSError):
            is_well = False
    return is_well
