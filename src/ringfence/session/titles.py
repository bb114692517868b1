"""What our own processes are called where processes are listed: `ps -e`, `top`, `pgrep`."""

import os

PROXY = "ringfence-proxy"  # names end after 15 bytes: proc_pid_comm(5)
VAULT = "ringfence-vault"
STANDBY = "ringfence-ready"
RESIDENT = "ringfence-runs"
READY = "ringfence-pool"  # a boundary that waits
RUN = "ringfence"  # as where a run's client carries it out


def appear_as(name: str) -> None:
    """Take a name. Preconditions: files can still be opened, and this process is not opaque yet."""
    try:
        with open("/proc/self/comm", "wb", buffering=0) as file:
            file.write(name.encode())
    except OSError:
        pass  # a host without /proc, or one that hides it: the name is a convenience


def words() -> "tuple[int, int]":
    """Where the words that this process was started with begin and end in its memory, and in that of its forks."""
    try:
        with open("/proc/self/stat", "rb") as file:  # 0.1 ms
            fields = file.read().rpartition(b") ")[2].split()
        return int(fields[45]), int(fields[46])  # arg_start and arg_end, proc_pid_stat(5), counted from the third
    except (OSError, ValueError, IndexError):
        return 0, 0


def drop(place: "tuple[int, int]") -> None:
    """Be shown as `RUN` in place of the `words` of the parent; preconditions as for `appear_as`.

    Else `pkill -f` with one of these words would end this process, too.
    """
    begin, end = place
    try:
        memory = os.open("/proc/self/mem", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        # The last byte stays null: without it the environment is shown as well (fs/proc/base.c, get_mm_cmdline).
        os.pwrite(memory, RUN.encode()[: max(0, end - begin - 1)].ljust(end - begin, b"\0"), begin)
    except OSError:
        pass
    finally:
        os.close(memory)
