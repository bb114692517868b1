"""The SDK from asyncio: nothing blocks the loop, and cancelling a task ends its command."""

import asyncio
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from ringfence import CommandTimeoutError, Sandbox, UsageError
from tests.integration.test_sdk import runs_left

pytestmark = pytest.mark.require("bubblewrap", "userns")


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """Give a sandbox on an empty directory."""
    monkeypatch.setenv("PATH", "/usr/local/bin:/usr/bin:/bin")
    return Sandbox(directory=tmp_path)


def test_a_command_is_awaited(box: Sandbox) -> None:
    done = asyncio.run(box.run_async(["cat"], input="given"))
    assert (done.returncode, done.text) == (0, "given")


def test_the_loop_goes_on_meanwhile(box: Sandbox) -> None:
    async def act() -> int:
        task = asyncio.ensure_future(box.run_async(["sleep", "0.5"]))
        turns = 0
        while not task.done():
            await asyncio.sleep(0.02)
            turns += 1
        return turns

    assert asyncio.run(act()) >= 10


def test_commands_run_side_by_side(box: Sandbox) -> None:
    async def act() -> list[str]:
        done = await asyncio.gather(*(box.run_async(["sh", "-c", f"sleep 1; echo {n}"]) for n in range(6)))
        return [one.text for one in done]

    began = time.monotonic()
    assert asyncio.run(act()) == [f"{n}\n" for n in range(6)]
    assert time.monotonic() - began < 6


def test_lines_come_one_by_one(box: Sandbox) -> None:
    async def act() -> list[bytes]:
        return [line async for line in box.stream_async(["sh", "-c", "echo a; echo b; printf c"])]

    assert asyncio.run(act()) == [b"a\n", b"b\n", b"c"]
    assert runs_left() == []


def test_leaving_a_stream_ends_its_command(box: Sandbox) -> None:
    async def act() -> bytes:
        lines = box.stream_async(["sh", "-c", "while :; do echo tick; sleep 0.01; done"])
        assert isinstance(lines, AsyncGenerator)
        try:
            async for line in lines:
                return bytes(line)
        finally:
            await lines.aclose()
        return b""

    assert asyncio.run(act()) == b"tick\n"
    assert runs_left() == []


def test_cancelling_ends_the_command(box: Sandbox) -> None:
    async def act() -> None:
        task = asyncio.ensure_future(box.run_async(["sleep", "60"]))
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    began = time.monotonic()
    asyncio.run(act())
    assert time.monotonic() - began < 10
    assert runs_left() == []


def test_cancelling_at_once_ends_the_command(box: Sandbox) -> None:
    """The command may be at any point of its start when the task is cancelled."""

    async def act() -> None:
        for delay in (0, 0.005, 0.02, 0.05):
            task = asyncio.ensure_future(box.run_async(["sleep", "60"]))
            await asyncio.sleep(delay)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    began = time.monotonic()
    asyncio.run(act())
    assert time.monotonic() - began < 20
    assert runs_left() == []


def test_time_limits_and_errors_are_the_same(box: Sandbox) -> None:
    with pytest.raises(CommandTimeoutError):
        asyncio.run(box.run_async(["sleep", "60"], timeout_s=0.3))
    with pytest.raises(UsageError, match="list of words"):
        asyncio.run(box.run_async("echo"))
    assert runs_left() == []


def test_asyncios_own_timeout_ends_the_command(box: Sandbox) -> None:
    async def act() -> None:
        async with asyncio.timeout(0.5):
            await box.run_async(["sleep", "60"])

    with pytest.raises(TimeoutError):
        asyncio.run(act())
    assert runs_left() == []
