"""What the audit must say of an attack that was contained."""

import time

from ringfence.audit.read import Record, read
from ringfence.audit.verify import verify
from tests.attacks.arena import Arena

# The kinds of record that say that something was refused, absorbed, kept back, cut off or taken out of an answer.
SEEN = frozenset({"denial", "contained", "held", "limit", "secret"})
PATIENCE_S = 20.0


def of_one_run(arena: Arena, output: str) -> list[Record]:
    """Give the records of the arena's only run, from an audit whose chain holds."""
    directory = str(arena.audit)
    report = verify(directory)
    assert not report.problems, report.problems
    records = list(read(directory))
    assert len({record.run for record in records if record.run}) == 1, f"not exactly one run recorded\n{output[-1000:]}"
    return records


def check_launch(records: list[Record], plan: str | None) -> None:
    """Require one launch, under `plan` if one is given: what held an attack that nobody saw is the plan in force."""
    launches = [record.fields["plan"] for record in records if record.kind == "launch"]
    assert len(launches) == 1
    assert plan is None or launches == [plan], "the plan in force is not the plan announced"


def check_end(records: list[Record], output: str) -> None:
    """Require that the audit says how the run ended."""
    assert [record.kind for record in records].count("exit") == 1, (
        f"the end of the run is not recorded\n{output[-2000:]}"
    )


def check_lost(arena: Arena) -> None:
    """Require that the next run records that this one never ended in order.

    Where somebody else than the killed client supervises the run, that one may be about to end everything.
    """
    deadline = time.monotonic() + PATIENCE_S
    while True:
        arena.run_again()
        if "lost" in [record.kind for record in read(str(arena.audit))] or time.monotonic() > deadline:
            break
    assert "lost" in [record.kind for record in read(str(arena.audit))], "nobody records that the run was lost"


def check_seen(records: list[Record], code: str, output: str) -> None:
    """Require an event with `code`."""
    seen = [(record.kind, record.code, record.fields) for record in records if record.kind in SEEN]
    assert any(found == code for _, found, _ in seen), f"no `{code}` in the audit, only {seen}\n{output[-1000:]}"


def check_tainted(records: list[Record], output: str) -> None:
    """Require the record that the run has reached for a secret."""
    kinds = {record.kind for record in records}
    assert "taint" in kinds, f"the run is not tainted: {sorted(kinds)}\n{output[-1000:]}"
