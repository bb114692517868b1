"""What our own processes are called where processes are listed: `ps -e`, `top`, `pgrep`."""

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
