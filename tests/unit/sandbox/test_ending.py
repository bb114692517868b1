"""The end of a command as a descriptor: whoever waits for it has one that nobody else closes."""

import os
import select

from ringfence.sandbox.ending import Ending


def is_readable(descriptor: int) -> bool:
    """Whether something is there to be read."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return poller.poll(0) == [(descriptor, select.POLLIN)]


def test_whoever_watches_learns_of_it_after_another_has_closed_it() -> None:
    ending = Ending()
    watched = ending.watch()
    try:
        assert not is_readable(watched)
        ending.come()
        ending.close()
        assert is_readable(watched)
    finally:
        os.close(watched)


def test_there_is_nothing_to_watch_once_it_has_come() -> None:
    ending = Ending()
    ending.come()
    assert ending.watch() == -1 and ending.has_come
    assert Ending(is_polled=False).watch() == -1
