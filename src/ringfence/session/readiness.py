"""Wait for one descriptor of whatever number: select(2) takes none from 1,024 on, and many sandboxes need more."""

import select


def is_readable(descriptor: int, timeout_s: "float | None" = None) -> bool:
    """Whether there is something to read, an end included, within the time; without one it is waited for."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(None if timeout_s is None else timeout_s * 1000))
