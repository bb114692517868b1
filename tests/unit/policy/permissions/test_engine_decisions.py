"""Decisions of the engine by the thousand, each table's entries and each notation one by one: none changes unnoticed.

decisions.jsonl.gz was written down by going through the tables and the notations, and was looked through afterwards:
what denials must see, what allowances must not cover. Each line holds rules, and calls with their verdict. A change
of the engine that is meant changes the file too.
"""

import gzip
import json
from typing import Any

import pytest

from ringfence.policy.permissions.engine import decide
from tests import permission_cases as cases

GROUPS = list(cases.lines("decisions.jsonl.gz"))


def decisions(group: dict[str, Any]) -> list[list[Any]]:
    """The calls of a group, each with what is decided about it now."""
    rules = cases.settings(**group["rules"])
    return [[tool, value, cases.verdict(rules, tool, value)] for tool, value, _ in group["calls"]]


@pytest.mark.parametrize("group", GROUPS, ids=[f"{at} {group['about']}" for at, group in enumerate(GROUPS)])
def test_decisions(group: dict[str, Any]) -> None:
    rules = cases.settings(**group["rules"])
    assert [call for call, written in zip(decisions(group), group["calls"], strict=True) if call != written] == []
    assert all(decide(rules, cases.call(tool, value)).reason.strip() for tool, value, _ in group["calls"])


def test_they_are_all_there() -> None:
    assert sum(len(group["calls"]) for group in GROUPS) > 20_000


if __name__ == "__main__":
    for group in GROUPS:
        now = decisions(group)
        for old, new in zip(group["calls"], now, strict=True):
            if old != new:
                print(group["about"], old, new[2])
        group["calls"] = now
    text = "".join(json.dumps(group) + "\n" for group in GROUPS)
    (cases.DATA / "decisions.jsonl.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
