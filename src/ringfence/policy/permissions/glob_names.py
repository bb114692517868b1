"""Programs named by a pattern: `dn* x` runs whatever file is there."""

import re
from collections.abc import Sequence

from ringfence.policy.effective import PathRule
from ringfence.policy.patterns import compile_rule

from .bash_rules import matcher, program_of
from .findings import NOWHERE

_CLASSES = re.compile(r"\[[^]]*\[[:.=].*?[:.=]\][^]]*\]")


def may_be(argv: Sequence[str], what: str) -> bool:
    """Tell whether the program in `argv` is a pattern that may stand for the one that the rule `what` names."""
    name = _CLASSES.sub("?", argv[0].rpartition("/")[2])  # the pattern's own language has none of them
    program = program_of(what)
    if not any(mark in name for mark in "*?[") or not name.strip("*?"):
        return False
    try:
        pattern = compile_rule(PathRule(pattern=f"/{name}", source=NOWHERE), workspace="/", ignore_case=False)
    except ValueError:
        return False
    return pattern.matches(f"/{program}") and matcher(what)(" ".join((program, *argv[1:])))
