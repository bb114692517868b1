"""Processes among themselves: children, threads, shared memory, signals, sockets, debugging, terminals."""

import pytest

from tests.utility.confined import Item, Place, carry_out, items


@pytest.mark.parametrize("item", items("processes"), ids=lambda item: item.name)
def test_processes(item: Item, place: Place) -> None:
    carry_out(item, place)
