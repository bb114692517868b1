"""Records that threads of one process write together: each its own, in order, and each its own failure."""

import contextlib
import errno
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ringfence.audit import together
from ringfence.audit.together import Entry, Together
from ringfence.audit.verify import verify
from ringfence.audit.writer import AuditWriter
from ringfence.model.errors import SandboxError
from tests.house.sources import ROOT
from tests.paths import wait_until

KEY = ("directory", "never", 0)
THREADS, EACH = 16, 20
PATIENCE_S = 60


def entry() -> Entry:
    return Entry(lambda link: (b"", link), "")


def lines(directory: Path) -> list[dict[str, object]]:
    """The whole lines: whoever reads without the lock may meet a part of one that is just being written."""
    whole, _, _ = (directory / "audit.jsonl").read_text().rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


def in_threads(count: int, act: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=act, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def test_each_thread_finds_all_of_its_records_in_its_order(tmp_path: Path) -> None:
    directory = tmp_path / "audit"

    def act(number: int) -> None:
        writer = AuditWriter(str(directory), fsync="never")
        for count in range(EACH):
            writer.record_fields("exit", f"run-{number}", count, "", fields={"count": count})
            assert any(one["run"] == f"run-{number}" and one["fields"] == {"count": count} for one in lines(directory))

    in_threads(THREADS, act)
    found = lines(directory)
    assert len(found) == THREADS * EACH
    for number in range(THREADS):
        assert [one["fields"]["count"] for one in found if one["run"] == f"run-{number}"] == list(range(EACH))  # type: ignore[index]  # it is a mapping
    assert not verify(str(directory)).problems


def test_what_waits_is_written_at_once() -> None:
    """One turn for all who came while somebody wrote."""
    found = Together()
    batches: list[int] = []
    began, go_on = threading.Event(), threading.Event()

    def append(batch: list[Entry]) -> None:
        batches.append(len(batch))
        began.set()
        assert go_on.wait(PATIENCE_S)

    first = threading.Thread(target=found.write, args=(KEY, entry(), append))
    first.start()
    assert began.wait(PATIENCE_S)
    others = [threading.Thread(target=found.write, args=(KEY, entry(), append)) for _ in range(9)]
    for thread in others:
        thread.start()
    assert wait_until(lambda: len(found._waiting.get(KEY, [])) == 9, PATIENCE_S)
    go_on.set()
    for thread in (first, *others):
        thread.join(PATIENCE_S)
    assert batches == [1, 9]


@pytest.mark.parametrize(
    "raised",
    [OSError(errno.ENOSPC, "full"), SandboxError("lock"), KeyboardInterrupt()],
    ids=lambda one: type(one).__name__,
)
def test_whoever_was_not_written_is_told(raised: BaseException) -> None:
    def append(batch: list[Entry]) -> None:
        raise raised

    batch = [entry(), entry()]
    with contextlib.nullcontext() if isinstance(raised, SandboxError) else pytest.raises(type(raised)):
        together.carry_out(batch, append)
    assert all(one.done and isinstance(one.error, SandboxError) for one in batch)


def test_what_cannot_be_written_down_costs_nobody_else_his_record(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    failed: list[int] = []

    def act(number: int) -> None:
        writer = AuditWriter(str(directory), fsync="never")
        for _ in range(EACH):
            try:
                writer.record_fields("exit", f"run-{number}", 1, "", fields={"odd": object() if number % 2 else 1})
            except TypeError:
                failed.append(number)

    in_threads(8, act)
    assert len(failed) == 4 * EACH and all(number % 2 for number in failed)
    assert len(lines(directory)) == 4 * EACH
    assert not verify(str(directory)).problems


FORKS = """
import os, sys, threading
from ringfence.audit import together
from ringfence.audit.writer import AuditWriter
began, end = threading.Event(), threading.Event()
def hold(batch):
    began.set()
    end.wait()
entry = together.Entry(None, "")
threading.Thread(target=together.TOGETHER.write, args=(("a", "never", 0), entry, hold)).start()
began.wait()
if (child := os.fork()) == 0:
    AuditWriter(sys.argv[1], fsync="never").record_fields("exit", "child", 1, "", fields={})
    os._exit(0)
status = os.waitpid(child, 0)[1]
end.set()
sys.exit(os.waitstatus_to_exitcode(status))
"""


def test_a_forked_process_waits_for_no_thread_of_its_parent(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    subprocess.run([sys.executable, "-c", FORKS, str(directory)], env=environment, timeout=PATIENCE_S, check=True)
    assert [one["run"] for one in lines(directory)] == ["child"]
