"""The SDK from asyncio: nothing blocks the loop, and cancelling a task ends its command."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from ringfence import CommandTimeoutError, Sandbox, UsageError
from tests.integration.test_sdk import runs_left

pytestmark = pytest.mark.require("bubblewrap", "userns")
UNTIL = "until test {}; do sleep 0.02; done"
LIMIT_S = 100.0


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """Give a sandbox on an empty directory."""
    monkeypatch.setenv("PATH", "/usr/local/bin:/usr/bin:/bin")
    return Sandbox(directory=tmp_path)


def test_a_command_is_awaited(box: Sandbox) -> None:
    done = asyncio.run(box.run_async(["cat"], input="given"))
    assert (done.returncode, done.text) == (0, "given")


def test_the_loop_goes_on_meanwhile(tmp_path: Path) -> None:
    """The command ends only after turns of the loop that began it."""
    box = Sandbox(directory=tmp_path, workspace="direct")

    async def act() -> bool:
        task = asyncio.ensure_future(box.run_async(["sh", "-c", UNTIL.format("-e go")], timeout_s=LIMIT_S))
        for _ in range(10):
            await asyncio.sleep(0.02)
        ended_early = task.done()
        (tmp_path / "go").touch()
        await task
        return ended_early

    assert not asyncio.run(act())


def test_commands_run_side_by_side(tmp_path: Path) -> None:
    """None of them ends before all have begun."""
    box = Sandbox(directory=tmp_path, workspace="direct")
    script = "touch here{0}; " + UNTIL.format("$(ls | wc -l) = 6") + "; echo {0}"

    async def act() -> list[str]:
        work = (box.run_async(["sh", "-c", script.format(n)], timeout_s=LIMIT_S) for n in range(6))
        return [one.text for one in await asyncio.gather(*work)]

    assert asyncio.run(act()) == [f"{n}\n" for n in range(6)]


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
        task = asyncio.ensure_future(box.run_async(["sleep", "300"]))  # longer than any test may take
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(act())
    assert runs_left() == []


def test_cancelling_at_once_ends_the_command(box: Sandbox) -> None:
    """The command may be at any point of its start when the task is cancelled."""

    async def act() -> None:
        for delay in (0, 0.005, 0.02, 0.05):
            task = asyncio.ensure_future(box.run_async(["sleep", "300"]))
            await asyncio.sleep(delay)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(act())
    assert runs_left() == []


def test_time_limits_and_errors_are_the_same(box: Sandbox) -> None:
    with pytest.raises(CommandTimeoutError):
        asyncio.run(box.run_async(["sleep", "300"], timeout_s=0.3))
    with pytest.raises(UsageError, match="list of words"):
        asyncio.run(box.run_async("echo"))
    assert runs_left() == []


def test_asyncios_own_timeout_ends_the_command(box: Sandbox) -> None:
    async def act() -> None:
        async with asyncio.timeout(0.5):
            await box.run_async(["sleep", "300"])

    with pytest.raises(TimeoutError):
        asyncio.run(act())
    assert runs_left() == []
