"""Wait for descriptors of whatever number: select(2) takes none from 1,024 on, and many sandboxes need more."""

import select


def is_readable(descriptor: int, timeout_s: "float | None" = None) -> bool:
    """Whether there is something to read, an end included, within the time; without one it is waited for."""
    return is_one_readable([descriptor], timeout_s)


def is_one_readable(descriptors: "list[int]", timeout_s: "float | None" = None) -> bool:
    """Whether one of them at least is."""
    poller = select.poll()
    for descriptor in descriptors:
        poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(None if timeout_s is None else timeout_s * 1000))
