"""What the operator is told of a denial: why, and what would allow it."""

import re

import pytest

from ringfence.network import denial
from ringfence.report.refusals import PROBES, REFUSALS, advice, telling
from ringfence.sandbox.argument_rules import ABSENT, NARROWED, RULES, Match
from ringfence.sandbox.refused_syscalls import REFUSED
from tests.house.sources import ROOT

AUDIT = (ROOT / "docs/audit.md").read_text(encoding="utf-8")
# Answers that are no denials: the host is not there or too slow, or a program did not say a password.
NO_DENIALS = {"not-found", "unreachable", "timed-out", "busy", "proxy-password", "unreadable-answer", "too-large"}


def codes(node: "Match | tuple[int, str]") -> set[str]:
    """The codes of a rule that refuse, and those of calls that are watched, which name no denial."""
    if isinstance(node, Match):
        return set().union(*map(codes, (*node.cases.values(), node.otherwise)))
    error, code = node
    return {code} if error and node != ABSENT else set()


def test_every_refused_call_has_a_reason() -> None:
    found = {code for *_, code, _ in REFUSED} | {"foreign-abi", "unix-socket", "signal-denied", "path-protected"}
    for node, _ in (*RULES.values(), *(rule for rules in NARROWED.values() for rule in rules.values())):
        found |= codes(node)
    assert found - REFUSALS.keys() == set()


def test_every_refusal_of_the_network_has_a_reason() -> None:
    assert (denial.STATUS.keys() | denial._TEXTS.keys()) - NO_DENIALS - REFUSALS.keys() == set()


def test_a_sentence_is_short_and_has_no_end() -> None:
    for code, refusal in REFUSALS.items():
        for text in (refusal.why, refusal.how):
            assert re.fullmatch(r"[^\n]{8,110}[^.\n]", text), code


def test_the_table_of_codes_is_in_the_documents() -> None:
    for code, refusal in REFUSALS.items():
        assert f"| `{code}` | {refusal.why} | {refusal.how} |" in AUDIT


@pytest.mark.parametrize(
    ("denials", "found"),
    [
        ([("seccomp-listener", "seccomp"), ("namespace-denied", "clone")], ("namespace-denied", "clone")),
        ([("io-uring", "io_uring_setup"), ("socket-protocol", "socket")], ("io-uring", "io_uring_setup")),
        ([("egress-denied", "a:443"), ("io-uring", "io_uring_setup")], ("egress-denied", "a:443")),
    ],
)
def test_what_programs_probe_for_stands_back(denials: list[tuple[str, str]], found: tuple[str, str]) -> None:
    assert telling(denials) == found


def test_advice() -> None:
    assert advice("process-access", "ptrace").endswith("`--seccomp debug` allows it for processes inside")
    assert advice("egress-denied", "look-up of a name") == "the network is off; `--allow HOST` opens it to a host"
    assert advice("not-known", "") == ""
    assert REFUSALS.keys() >= PROBES
