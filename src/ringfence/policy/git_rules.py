"""`[[git.remotes]]` and `[git.signing]` to what the proxy and the signer hold git to.

- For each host the highest layer that names it decides alone, so that what a managed policy says of a host's pushes is
  not widened below it. A project names none.
- A remote is also an allowance: the requests of git for its repositories, and no others, may be made at its host.
"""

import re
from collections.abc import Callable, Mapping, Sequence

import msgspec
from msgspec import UNSET

from ringfence.model.decision import Source, Verdict
from ringfence.model.egress import EgressRule
from ringfence.model.errors import UsageError
from ringfence.model.git import GitRemote, LargeFiles, Pushes, Signer, Signing
from ringfence.policy.document import HostEntry, Layer
from ringfence.policy.host_rules import host_rule
from ringfence.policy.parse import shown
from ringfence.policy.units import size_bytes

from .git_tables import PushTable, RemoteTable
from .signers import is_path, read_signers

# Names that forges give to repositories, and wildcards; `**` only as a whole segment.
_SEGMENT = re.compile(r"\*\*|(?!\.\.?$)(?!.*\*\*)[A-Za-z0-9._~*-]+")
# What git lets a ref be called (git-check-ref-format(1)), and wildcards.
_REF = re.compile(r"refs(/(\*\*|(?!\.)(?![^/]*(\.\.|\*\*|@\{))[^/\x00-\x20\x7f~^:?\[\\]+(?<!\.lock)(?<!\.)))+")
_ADDRESS = re.compile(r"[^\x00-\x20\x7f-\x9f<>]+")
_WEB = ((443, 443),)
_READ = ("max_bytes", "signers")  # of a push's table, not taken over as they are


class Remote(msgspec.Struct, frozen=True, kw_only=True):
    """A remote with the ports of its host."""

    remote: GitRemote
    ports: tuple[tuple[int, int], ...]


def remotes(ordered: Sequence[Layer]) -> tuple[Remote, ...]:
    """Return the remotes in force; raise `UsageError`, with file and line, for what is not sound."""
    found: dict[str, list[Remote]] = {}
    for layer in ordered:
        listed = layer.document.git.remotes
        here: dict[str, list[Remote]] = {}
        for index, table in enumerate(() if listed is UNSET or layer.scope == "project" else listed):
            one = _remote(table, layer.source("git", "remotes", index))
            here.setdefault(one.remote.host, []).append(one)
        found = here | found
    in_order = (one for host in sorted(found) for one in found[host])
    return tuple(sorted(in_order, key=lambda one: (one.remote.host, one.remote.repositories)))


def egress_rules(one: Remote) -> list[EgressRule]:
    """Return what may be asked of the host so that git can do what `one` says."""
    remote = one.remote
    named = [name for name in remote.repositories if name[0] != "!"]
    places = [place for name in named for place in _places(name)]
    bare = [_bare(name) for name in named]
    return [
        EgressRule(
            host=remote.host,
            verdict=Verdict.ALLOW,
            source=remote.source,
            ports=one.ports,
            methods=(method,),
            paths=paths,
            reason=remote.reason or "git",
        )
        for method in ("GET", "POST", "PUT")
        if (paths := (*_below(places, _ANYWHERE[method], remote), *_below(bare, _BARE[method], remote)))
    ]


def _below(places: Sequence[str], names: Mapping[str, Callable[[GitRemote], bool]], remote: GitRemote) -> list[str]:
    """Return the paths of those requests in each place that git makes for what `remote` allows."""
    return [f"/{place}/{name}" for place in places for name, is_needed in names.items() if is_needed(remote)]


def signing(ordered: Sequence[Layer], home: str) -> Signing:
    """Return what may be signed: what the highest layer says that says anything."""
    for layer in ordered:
        table = layer.document.git.signing
        if table is not UNSET and layer.scope != "project":
            place = layer.source("git", "signing", "key")
            return Signing(
                key=_key(table.key, table.format, home, place),
                format=table.format,
                tags=table.tags,
                max_signatures=table.max_signatures,
                source=place,
            )
    return Signing()


def refuse_loosening(layer: Layer, hint: str) -> None:
    """Raise `UsageError` for what a project's `git` table may not say: anything."""
    table = layer.document.git
    named: Mapping[str, tuple[object, Source]] = {
        "remotes": (table.remotes, layer.source("git", "remotes")),
        "signing": (table.signing, layer.source("git", "signing")),
    }
    for name, (said, place) in named.items():
        if said not in (UNSET, ()):
            message = f"a project's policy can only tighten, so it may not set `git.{name}`"
            raise UsageError(message, place=str(place), hint=hint)


def _remote(table: RemoteTable, source: Source) -> Remote:
    rule = host_rule(HostEntry(host=table.host), Verdict.ALLOW, source)
    written = host_rule(table.host, Verdict.DENY, source).ports != ((1, 65535),)
    repositories = tuple(sorted({_repository(text, source) for text in table.repositories}))
    if not any(name[0] != "!" for name in repositories):
        raise UsageError("a git remote names no repositories", place=str(source), hint='as in `["owner/name"]`')
    remote = GitRemote(
        host=rule.host,
        repositories=repositories,
        source=source,
        fetch=table.fetch,
        push=None if table.push is UNSET else _pushes(table.push, source),
        lfs=LargeFiles(table.lfs),
        reason=table.reason,
    )
    return Remote(remote=remote, ports=rule.ports if written else _WEB)


def _repository(text: str, source: Source) -> str:
    # `!` takes out of the other patterns what this one matches (policy/git.py).
    name = text.removeprefix("!").removesuffix(".git")
    if not all(_SEGMENT.fullmatch(segment) for segment in name.split("/")):
        hint = "write `owner/name`; `*` stands for any name, `**` for any number of them"
        raise UsageError(f"{shown(text)} is not a repository", place=str(source), hint=hint)
    return ("!" if text.startswith("!") else "") + name


def _fetches(remote: GitRemote) -> bool:
    return remote.fetch


def _pushes_to(remote: GitRemote) -> bool:
    return remote.push is not None


def _large_files(remote: GitRemote) -> bool:
    return remote.lfs is not LargeFiles.NONE


def _large_uploads(remote: GitRemote) -> bool:
    return remote.lfs is LargeFiles.UPLOAD


# Below each spelling of a repository (network/git_endpoints.py). Many servers keep large files beside it, GitLab under
# `gitlab-lfs`; those of GitHub and others are at hosts of their own, which rules have to name.
_ANYWHERE: Mapping[str, Mapping[str, Callable[[GitRemote], bool]]] = {
    "GET": {"info/refs": lambda _: True, "info/lfs/objects/**": _large_files},
    "POST": {
        "git-upload-pack": _fetches,
        "git-receive-pack": _pushes_to,
        "info/lfs/objects/batch": _large_files,
        "info/lfs/locks/verify": _large_uploads,
        "info/lfs/verify": _large_uploads,
    },
    "PUT": {"info/lfs/objects/**": _large_uploads},
}
# Below `NAME.git` alone, since elsewhere they would not be git's: with the dumb protocol what a server has as files.
_BARE: Mapping[str, Mapping[str, Callable[[GitRemote], bool]]] = {
    "GET": {"HEAD": _fetches, "objects/**": _fetches, "gitlab-lfs/**": _large_files},
    "POST": {},
    "PUT": {"gitlab-lfs/**": _large_uploads},
}


def _bare(repository: str) -> str:
    """Return the path of a repository with `.git`."""
    return f"{repository}/*.git" if repository.rpartition("/")[2] == "**" else f"{repository}.git"


def _places(repository: str) -> tuple[str, ...]:
    """Return the paths of a repository: with and without `.git`, which a wildcard takes in."""
    return (repository,) if "*" in repository.rpartition("/")[2] else (repository, f"{repository}.git")


def _pushes(table: PushTable, source: Source) -> Pushes:
    for ref in table.refs:
        if not _REF.fullmatch(ref.removeprefix("!")):
            hint = "write full names, as in `refs/heads/agent/*`; `*` within a component, `**` across"
            raise UsageError(f"{shown(ref)} is not the name of a ref", place=str(source), hint=hint)
    if not any(ref[0] != "!" for ref in table.refs):
        hint = 'as in `push = { refs = ["refs/heads/agent/*"] }`; leave `push` out to allow none'
        raise UsageError("`push` names no refs", place=str(source), hint=hint)
    for address in (*table.authors, *table.committers):
        if not _ADDRESS.fullmatch(address):
            hint = "write it without a name and `<>`, as in `*@example.com`"
            raise UsageError(f"{shown(address)} is not an e-mail address", place=str(source), hint=hint)
    for pattern in table.deny_paths:
        if pattern.startswith("!"):
            hint = "narrow the other pattern, or write `\\!` for a name that begins with `!`"
            raise UsageError(
                f"{shown(pattern)} is negated, and a pattern cannot take back another", place=str(source), hint=hint
            )
    said = {field: getattr(table, field) for field in PushTable.__struct_fields__ if field not in _READ}
    signers = tuple(one for entry in table.signers for one in _signers(entry, source))
    return Pushes(**said, max_bytes=size_bytes(table.max_bytes), signers=signers)


def _signers(entry: str, source: Source) -> tuple[Signer, ...]:
    """Return the key that is written down, or the file of keys that the planner is to read."""
    if is_path(entry):
        return (Signer(entry),)
    try:
        return read_signers(entry)
    except ValueError as error:
        hint = "as in a file `id_ed25519.pub`, or the path of a file of keys: absolute, or from `~/`"
        raise UsageError(f"{shown(entry)} is no key that signs: {error}", place=str(source), hint=hint) from error


def _key(key: str, form: str, home: str, place: Source) -> str:
    if form == "ssh" and (not key.startswith(("/", "~/")) or ".." in key.split("/")):
        hint = 'as in "~/.ssh/id_ed25519"; for OpenPGP add `format = "openpgp"`'
        raise UsageError(f"{shown(key)} is not the absolute path of a key", place=str(place), hint=hint)
    if not re.fullmatch(r"[^\s-][^\x00-\x1f\x7f]*", key):
        raise UsageError(
            f"{shown(key)} identifies no key", place=str(place), hint="write its fingerprint, without spaces"
        )
    return home.rstrip("/") + key[1:] if key.startswith("~/") else key
