"""Which names on the host a path rule means: the rules made ready, and the search for what they match.

Theory of operation. A rule means names, and what it names may be spelled in another letter case, lie behind a link
in its fixed part, or be found by a wildcard only. So the directories that the view exposes are searched, each under
its host path and under its path in the view, descending only where a rule that has not matched yet still could: for
a fixed path this reads one directory per segment, for `**` everything below. Links are not descended into; whoever
uses a match asks what it leads to. What the view does not expose is not searched and needs no protection.

The search reads directories through `Listing`; this module itself touches nothing.
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from ringfence.model.paths import HostPath
from ringfence.model.plan import HostFacts
from ringfence.policy.effective import PathRule
from ringfence.policy.patterns import Pattern, compile_rule, fold

from .view import within

Listing = Callable[[str], Iterable[tuple[str, bool]]]
"""The names in a directory, each with whether it is a directory itself (a link is not)."""


class Sought(msgspec.Struct, frozen=True, kw_only=True):
    """One rule. What it names begins at `named`, on this host `real` once links are resolved."""

    rule: PathRule
    pattern: Pattern
    named: str
    real: str
    folded: tuple[str, str]

    def matches(self, path: str) -> bool:
        """Whether the rule means `path`, by its own name or by the name it has through a link."""
        if self.pattern.matches(path):
            return True
        behind = self.real != self.named and within(path, self.real)
        return behind and self.pattern.matches(f"{self.named}{path[len(self.real) :]}")

    def near(self, directory: str) -> bool:
        """Whether something at or below `directory` could match."""
        place = _folded(directory)
        return any(within(place, start) or within(start, place) for start in self.folded)


def _folded(path: str) -> str:
    return "/".join(fold(name) for name in path.split("/"))


def sought(
    rules: Sequence[PathRule], facts: HostFacts, workspace: str, *, ignore_case: bool = True
) -> tuple[Sought, ...]:
    """Compile `rules`; `facts` should know each `Pattern.prefix`. `ignore_case` must be False for allowances."""
    found = []
    for rule in rules:
        pattern = compile_rule(rule, workspace=workspace, ignore_case=ignore_case)
        known = facts.paths.get(pattern.prefix)
        real = known.resolved if known and known.resolved else pattern.prefix
        folded = (_folded(pattern.prefix), _folded(real))
        found.append(Sought(rule=rule, pattern=pattern, named=pattern.prefix, real=real, folded=folded))
    return tuple(found)


def search(
    starts: Iterable[tuple[str, str]], rules: Sequence[Sought], listing: Listing
) -> dict[str, tuple[HostPath, ...]]:
    """Return for each directory searched, its name ending in `/`, the host paths in it that a rule matches.

    `starts` are pairs of host path and path in the view. Below a match only what other rules match is found.
    """
    found: dict[str, set[HostPath]] = {}
    pending = [(host, guest, rules) for host, guest in dict.fromkeys(starts)]
    while pending:
        host, guest, open_rules = pending.pop()
        near = [one for one in open_rules if one.near(host) or (guest != host and one.near(guest))]
        names = found.setdefault(f"{host.rstrip('/')}/", set()) if near else set()
        for name, directory in listing(host) if near else ():
            below, shown = f"{host.rstrip('/')}/{name}", f"{guest.rstrip('/')}/{name}"
            rest = [one for one in near if not one.matches(below) and (below == shown or not one.matches(shown))]
            if len(rest) < len(near):
                names.add(HostPath(below))
            if directory and rest:
                pending.append((below, shown, rest))
    return {directory: tuple(sorted(names)) for directory, names in found.items()}
