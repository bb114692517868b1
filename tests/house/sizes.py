"""How large things may be: modules, functions, parameter lists, package introductions, the trusted base."""

import ast
import statistics
from collections.abc import Iterable

from tests.house.sources import Source, functions

MODULE_LINES = 400
INTRODUCTION_LINES = 20
POSITIONAL_PARAMETERS = 4
MEDIAN_FUNCTION_LINES = 12
LONG_FUNCTION_LINES = 40
LONGEST_FUNCTION_LINES = 80
LONG_FUNCTIONS_PERCENT = 5

# Code lines of what must not be wrong (DESIGN: trusted computing base). A name ending in a slash is a folder; several
# files share one budget. Raising a number needs a decision record that says what could not be made simpler.
BUDGETS: dict[tuple[str, ...], int] = {
    ("policy/",): 4000,
    ("policy/permissions/",): 3250,
    ("planner/",): 1420,
    ("inside/",): 830,
    ("trust/",): 480,
    ("secrets/",): 2050,
    ("network/",): 6000,
    ("model/names.py", *(f"workspace/{name}.py" for name in ("apply", "beneath", "filter", "gitdata"))): 600,
    ("workspace/live.py", "workspace/inotify.py"): 250,
    ("sandbox/launch.py", "sandbox/seccomp.py"): 500,
    ("sandbox/bubblewrap.py",): 250,
    ("sandbox/gvisor.py",): 250,
    ("sandbox/vm.py",): 250,
    ("sandbox/container.py",): 250,
    ("sandbox/seatbelt.py",): 250,
    ("approvals/token.py",): 150,
    ("audit/chain.py",): 150,
    ("session/wiring.py",): 250,
    (
        *(f"session/{name}.py" for name in ("vault", "vaults", "vault_worker", "vault_service", "vault_carrying")),
        *(f"session/{name}.py" for name in ("vault_telling", "cleansing", "signing", "signable", "ear", "tainting")),
        "session/vault_succession.py",
    ): 1350,
}


def over_budget(sources: Iterable[Source], budgets: dict[tuple[str, ...], int]) -> list[str]:
    """List the trusted parts that have outgrown their budget of code lines."""
    listed = list(sources)
    found = []
    named = [f"src/ringfence/{part}" for parts in budgets for part in parts]
    for parts, limit in budgets.items():
        prefixes = tuple(f"src/ringfence/{part}" for part in parts)
        # A folder inside another that has a budget of its own is not counted twice.
        inner = tuple(
            name for name in named if name not in prefixes and name.endswith("/") and name.startswith(prefixes)
        )
        counted = [
            source for source in listed if source.name.startswith(prefixes) and not source.name.startswith(inner)
        ]
        used = sum(len(source.code_lines) for source in counted)
        if used > limit:
            found.append(f"{' + '.join(parts)}: {used} code lines, the budget is {limit}")
    return found


def long_modules(sources: Iterable[Source]) -> list[str]:
    """List modules that should be split."""
    counted = ((source.name, len(source.text.splitlines())) for source in sources)
    return [f"{name}: {lines} lines, at most {MODULE_LINES}" for name, lines in counted if lines > MODULE_LINES]


def long_introductions(sources: Iterable[Source]) -> list[str]:
    """List packages that do not introduce themselves, or go on too long about it."""
    found = []
    for source in sources:
        if source.name.endswith("/__init__.py"):
            lines = (ast.get_docstring(source.tree) or "").splitlines()
            if not 0 < len(lines) <= INTRODUCTION_LINES:
                found.append(f"{source.name}: {len(lines)} lines of docstring, 1 to {INTRODUCTION_LINES} are wanted")
    return found


def long_parameter_lists(sources: Iterable[Source]) -> list[str]:
    """List functions that take too much by position; `self` and `cls` are not counted."""
    found = []
    for source in sources:
        for function in functions(source):
            names = [argument.arg for argument in function.args.posonlyargs + function.args.args]
            count = len(names) - (names[:1] in (["self"], ["cls"]))
            if count > POSITIONAL_PARAMETERS:
                found.append(source.at(function, f"`{function.name}` has {count} positional parameters"))
    return found


def long_functions(sources: Iterable[Source]) -> list[str]:
    """List functions beyond `LONGEST_FUNCTION_LINES` of code; all long ones, where they are more than a few."""
    lengths = {}
    for source in sources:
        for function in functions(source):
            span = range(function.lineno, (function.end_lineno or function.lineno) + 1)
            lengths[source.at(function, f"`{function.name}`")] = len(source.code_lines.intersection(span))
    if not lengths:
        return []
    longest = [f"{place}: {count} code lines" for place, count in lengths.items() if count > LONGEST_FUNCTION_LINES]
    rare = [f"{place}: {count} code lines" for place, count in lengths.items() if count > LONG_FUNCTION_LINES]
    if len(rare) * 100 > LONG_FUNCTIONS_PERCENT * len(lengths):
        return [*rare, f"{len(rare)} of {len(lengths)} functions are over {LONG_FUNCTION_LINES} lines: not `rarely`"]
    median = statistics.median(lengths.values())
    if median > MEDIAN_FUNCTION_LINES:
        return [f"the median function has {median} code lines, at most {MEDIAN_FUNCTION_LINES} are wanted"]
    return longest
