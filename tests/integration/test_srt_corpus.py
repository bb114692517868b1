"""Settings files of sandbox-runtime do what they do there, or better: measured cases, one by one.

The corpus holds what sandbox-runtime 0.0.83 did (`parity`), and what it lacks and its users ask for (`better`). It is
read from beside the repository where that has it, else from the copy. Cases of the network run in the lab.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.house.sources import ROOT
from tests.sandbox_runtime import WITH_KEY, Place

SHARED = ROOT.parent / "shared/corpora/srt-behaviour-dev.jsonl"
CORPUS = SHARED if SHARED.is_file() else ROOT / "tests/data/srt-behaviour-dev.jsonl"
CASES = [json.loads(line) for line in CORPUS.read_text("utf-8").splitlines()]
KEYRING = "#keyring"
# The cases were measured at rest; a busy machine takes longer to answer, and to start a server.
LEISURE = (
    (r"-m ?\d+", "-m50"),
    (r"timeout=4", "timeout=50"),
    (r"sleep 1; curl", "curl --retry 50 --retry-delay 1 --retry-connrefused"),
    (r"sleep 3;", "sleep 10;"),
    (r"sleep 4;", "sleep 11;"),
)

pytestmark = [pytest.mark.require("bubblewrap", "userns", "overlay", "git")]


def at_leisure(text: str) -> str:
    """A command with time enough."""
    for written, instead in LEISURE:
        text = re.sub(written, instead, text)
    return text


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_case(case: dict[str, Any], tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if case["setup"] == KEYRING and os.uname().machine != "x86_64":
        pytest.skip("the case makes system calls by their numbers on x86_64")
    place = Place(tmp_path, request.getfixturevalue("lab") if case["lab"] else None)
    if case["setup"] and case["setup"] != KEYRING:
        done = place.shell(case["setup"])
        assert done.returncode == 0, f"setup: {done.stderr}"
    words = case["argv"] if case["cmd"] is None else at_leisure(case["cmd"])
    before = WITH_KEY if case["setup"] == KEYRING else ""
    done = place.srt(case["cfg"], words, environment=case["env"] or {}, stdin=case["stdin"] or "", before=before)
    seen = f"status {done.returncode}\n{done.stdout[:2000]}\n{done.stderr[:2000]}"
    if case["rc"] == "nz":
        assert done.returncode != 0, seen
    elif case["rc"] != "any":
        assert done.returncode == case["rc"], seen
    for text in case["out"] or ():
        assert text in done.stdout, seen
    for text in case["nout"] or ():
        assert text not in done.stdout and text not in done.stderr, seen
    if case["post"]:
        after = place.shell(at_leisure(case["post"]))
        assert after.returncode == 0, f"afterwards: {after.stdout}{after.stderr}\n{seen}"
