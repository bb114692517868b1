"""Connecting to several addresses: their order, the delay between them, and that no socket is left over."""

import os
import select
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.network import attempts
from tests.unit.network.loopback import HERE, THERE, Clock, full, listening


def finish(steps: attempts.Steps, wait: attempts.Wait) -> attempts.Outcome:
    """Go on until the end, as the dialer would without running into a point in time."""
    while True:
        poller = select.poll()
        for made in wait.sockets:
            poller.register(made, wait.event)
        ready = dict(poller.poll(60_000))
        assert ready, "nothing happened for a minute"
        try:
            wait = steps.send(tuple(made for made in wait.sockets if made.fileno() in ready))
        except StopIteration as end:
            outcome: attempts.Outcome = end.value
            return outcome


def closed(outcome: attempts.Outcome) -> attempts.Outcome:
    """Close the connection, if there is one."""
    if outcome.connected:
        outcome.connected.close()
    return outcome


@pytest.fixture
def silent() -> Iterator[int]:
    """Give a port of `HERE` where connections hang."""
    listener, fillers = full(HERE)
    yield listener.getsockname()[1]
    for made in (listener, *fillers):
        made.close()


@pytest.mark.parametrize(
    ("addresses", "order"),
    [
        ([], []),
        (["192.0.2.1"], ["192.0.2.1"]),
        (["::a", "::b", "192.0.2.1"], ["::a", "192.0.2.1", "::b"]),
        (["192.0.2.1", "192.0.2.2", "192.0.2.3", "::a"], ["192.0.2.1", "::a", "192.0.2.2", "192.0.2.3"]),
        (["::a", "192.0.2.1", "192.0.2.2", "::b", "::a"], ["::a", "192.0.2.1", "::b", "192.0.2.2"]),
    ],
)
def test_families_take_turns(addresses: list[str], order: list[str]) -> None:
    assert attempts.interleaved(addresses) == order


@given(st.lists(st.sampled_from(["192.0.2.1", "192.0.2.2", "192.0.2.3", "::a", "::b", "::c"]), max_size=8))
def test_the_order_loses_nothing_and_begins_with_the_best(addresses: list[str]) -> None:
    found = attempts.interleaved(addresses)
    assert sorted(found) == sorted(set(addresses))
    assert found[:1] == addresses[:1]
    for family in (True, False):
        kept = [address for address in dict.fromkeys(addresses) if (":" in address) == family]
        assert [address for address in found if (":" in address) == family] == kept


def test_the_connection_is_ready_to_be_handed_over() -> None:
    with listening() as listener:
        port = listener.getsockname()[1]
        steps = attempts.connect([HERE], port, Clock())
        outcome = finish(steps, next(steps))
        made = outcome.connected
        assert made is not None
        assert outcome.address == HERE
        assert made.getpeername() == (HERE, port)
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert not os.get_blocking(made.fileno())
        assert not os.get_inheritable(made.fileno())
        made.close()


def test_a_refused_address_gives_way_at_once() -> None:
    with listening(THERE) as listener:
        steps = attempts.connect([HERE, THERE], listener.getsockname()[1], Clock())
        assert closed(finish(steps, next(steps))).address == THERE


def test_what_is_no_address_is_not_looked_up_but_gives_way() -> None:
    with listening() as listener:
        steps = attempts.connect(["2001:db8::%lo", "example.com", "fe80::1", HERE], listener.getsockname()[1], Clock())
        assert closed(finish(steps, next(steps))).address == HERE


def test_a_silent_address_is_joined_by_the_next_after_a_quarter_of_a_second(silent: int) -> None:
    clock = Clock()
    with listening(THERE, port=silent):
        steps = attempts.connect([HERE, THERE, "127.0.0.4"], silent, clock)
        first = next(steps)
        assert (len(first.sockets), first.until) == (1, clock.now + 0.25)
        clock.now += 0.25
        second = steps.send(None)
        assert first.sockets[0] in second.sockets
        assert (len(second.sockets), second.until) == (2, clock.now + 0.25)
        outcome = finish(steps, second)
        assert outcome.address == THERE
        assert outcome.connected is second.sockets[1]
        assert first.sockets[0].fileno() == -1
        closed(outcome)


def test_when_nothing_is_left_to_try_there_is_no_point_in_time(silent: int) -> None:
    steps = attempts.connect([HERE], silent, Clock())
    assert next(steps).until == float("inf")
    steps.close()


def test_the_end_of_the_wait_closes_every_socket(silent: int) -> None:
    steps = attempts.connect([HERE, HERE.replace("2", "5", 1), THERE], silent, Clock())
    wait = next(steps)
    steps.close()
    assert [made.fileno() for made in wait.sockets] == [-1]


def test_only_so_many_addresses_are_tried() -> None:
    clock = Clock()
    steps = attempts.connect([f"127.0.1.{number}" for number in range(1, 60)], 9, clock)
    outcome = finish(steps, next(steps))
    assert (outcome.code, outcome.reason) == ("unreachable", "connection refused")


@pytest.mark.parametrize(
    ("error", "code"), [(24, "busy"), (23, "busy"), (110, "timed-out"), (111, "unreachable"), (101, "unreachable")]
)
def test_errors_have_codes(error: int, code: str) -> None:
    assert attempts.failure(error).code == code
