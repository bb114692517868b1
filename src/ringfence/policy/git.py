"""What git may do at a host: which repositories are fetched from and pushed to, which refs a push may change.

A remote speaks of a repository if one of its `repositories` matches; a host without remotes is not governed, and git is
HTTP like everything else there. `*` is any run of characters within a component, `**` as a whole component any number
of them, at the end at least one. A pattern that begins with `!` takes out of the others what it matches: it beats them,
wherever it stands. Names are compared in their letter case, but by `!`, which matches more.

What no remote allows is denied. Of several that speak of a repository, each may allow: but a remote with
`fetch = false` denies fetching whatever the others say.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from ringfence.model.decision import Decision, Source, Verdict
from ringfence.model.egress import Egress
from ringfence.model.git import GitRemote, LargeFiles, Pushes

from .effective import PathRule
from .hosts import matches
from .patterns import Pattern, compile_rule, fold

TAGS = "refs/tags/"
_HERE = Source(scope="default")
_NO_REMOTE = "no `git.remotes` entry speaks of the repository"
_REACH = {LargeFiles.NONE: 0, LargeFiles.DOWNLOAD: 1, LargeFiles.UPLOAD: 2}


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One command of a push: `old` and `new` are object names in hexadecimal, empty where there is no such ref."""

    ref: str
    old: str
    new: str


def governed(egress: Egress, host: str) -> tuple[GitRemote, ...]:
    """Return the remotes of a host; empty where git is HTTP like everything else."""
    return tuple(remote for remote in egress.git_remotes if matches(remote.host, host))


def speaking(remotes: Sequence[GitRemote], repository: str) -> tuple[GitRemote, ...]:
    """Return the remotes that speak of a repository (`owner/name`, without `.git`)."""
    return tuple(remote for remote in remotes if matches_names(remote.repositories, repository))


def decide_fetch(remotes: Sequence[GitRemote], repository: str) -> Decision:
    """Decide whether a repository is read."""
    found = speaking(remotes, repository)
    denying = next((remote for remote in found if not remote.fetch), None)
    if denying is not None:
        return _decided(Verdict.DENY, denying, "a rule denies fetching from it")
    return _decided(Verdict.ALLOW, found[0], "allowed by a rule") if found else _denied(_NO_REMOTE)


def decide_large_files(remotes: Sequence[GitRemote], repository: str, *, upload: bool) -> Decision:
    """Decide on git LFS: what may be downloaded must be fetchable, what may be uploaded must be pushable as well."""
    needed = LargeFiles.UPLOAD if upload else LargeFiles.DOWNLOAD
    found = [remote for remote in speaking(remotes, repository) if _REACH[remote.lfs] >= _REACH[needed]]
    if not found or (upload and not pushing(remotes, repository)):
        return _denied(f"no rule allows git LFS to {'upload to' if upload else 'download from'} it")
    fetching = decide_fetch(remotes, repository)
    return fetching if fetching.verdict is Verdict.DENY and not upload else _decided(Verdict.ALLOW, found[0], "allowed")


def pushing(remotes: Sequence[GitRemote], repository: str) -> tuple[tuple[GitRemote, Pushes], ...]:
    """Return the rules under which a repository may be pushed to; empty where nothing is pushed."""
    return tuple((remote, remote.push) for remote in speaking(remotes, repository) if remote.push is not None)


def refused_changes(pushes: Pushes, changes: Sequence[Change]) -> dict[str, str]:
    """Return the refs that may not be changed so, with reasons; what only the pack can tell is not asked here."""
    if len(changes) > pushes.max_refs > 0:
        return {change.ref: f"more than {pushes.max_refs} refs in one push" for change in changes}
    found = {change.ref: _refused(pushes, change) for change in changes}
    return {ref: reason for ref, reason in found.items() if reason}


def wants_content(pushes: Pushes) -> bool:
    """Tell whether a rule speaks of the commits that are pushed."""
    return bool(pushes.deny_paths or pushes.authors or pushes.committers or pushes.signed or pushes.max_commits)


def accepts_address(patterns: Sequence[str], address: str) -> bool:
    """Tell whether an e-mail address is one of `patterns` (`*` is any run); letter case says nothing."""
    folded = address.casefold()
    return not patterns or any(_glob(pattern.casefold(), ".*").fullmatch(folded) for pattern in patterns)


@lru_cache(maxsize=64)
def denied_paths(patterns: tuple[str, ...]) -> tuple[Pattern, ...]:
    """Compile `deny_paths` (gitignore's patterns from the top of the repository), in any letter case."""
    return tuple(
        compile_rule(PathRule(pattern=text, source=_HERE), workspace="/", ignore_case=True) for text in patterns
    )


def may_hold(pattern: Pattern, directory: str) -> bool:
    """Tell whether something in `directory` (absolute, `/` for the top), or below, could be matched."""
    fixed, names = ([fold(name) for name in path.split("/") if name] for path in (pattern.prefix, directory))
    return all(first == second for first, second in zip(fixed, names, strict=False))


def stands_above(pattern: Pattern, path: str) -> bool:
    """Tell whether all that a pattern matches is below `path`, or is it: then what is there takes their place."""
    return may_hold(pattern, path) and pattern.prefix.count("/") >= path.count("/") and pattern.prefix != "/"


def matches_names(patterns: Sequence[str], name: str) -> bool:
    """Tell whether one of `patterns` matches a name of components, and none of those that begin with `!`."""
    taken = any(_components(text[1:].casefold()).fullmatch(name.casefold()) for text in patterns if text[:1] == "!")
    return not taken and any(_components(text).fullmatch(name) for text in patterns if text[:1] != "!")


def _refused(pushes: Pushes, change: Change) -> str:
    if not matches_names(pushes.refs, change.ref):
        return "no rule allows pushing to this ref"
    if not change.new:
        return "" if pushes.delete else "the rule does not allow deleting refs"
    if change.old and change.ref.startswith(TAGS) and not pushes.force:
        return "the rule does not allow moving tags"
    return ""


@lru_cache(maxsize=1024)
def _components(pattern: str) -> re.Pattern[str]:
    """Compile a pattern; components never cross a slash, so nothing backtracks far."""
    names = pattern.split("/")
    parts = []
    for number, name in enumerate(names):
        last = number == len(names) - 1
        if name == "**":
            parts.append("[^/]+(?:/[^/]+)*" if last else "(?:[^/]+/)*")
        else:
            parts.append(_glob(name, "[^/]*").pattern + ("" if last else "/"))
    return re.compile("".join(parts), re.DOTALL)


@lru_cache(maxsize=1024)
def _glob(pattern: str, run: str) -> re.Pattern[str]:
    """Compile a pattern with `*` for any run; several in a row are one, so that it stays fast."""
    return re.compile(run.join(re.escape(part) for part in re.split(r"\*+", pattern)), re.DOTALL)


def _decided(verdict: Verdict, remote: GitRemote, reason: str) -> Decision:
    rule = f"{remote.host} {' '.join(remote.repositories)}"
    return Decision(verdict=verdict, reason=remote.reason or reason, rule=rule, source=remote.source)


def _denied(reason: str) -> Decision:
    return Decision(verdict=Verdict.DENY, reason=reason)
