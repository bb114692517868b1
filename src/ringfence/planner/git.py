"""Linked worktrees and submodules: a `.git` file that points to a git directory elsewhere (gitrepository-layout(5))."""

import posixpath

from ringfence.model.paths import HostPath
from ringfence.model.plan import HostFacts, PathKind

from .mounts import fact
from .request import Request


def pointer(text: str, base: str) -> str:
    """The absolute path in a `gitdir:` or `commondir` file; empty when it holds none."""
    line = text.strip().removeprefix("gitdir:").strip()
    if not line or "\n" in line or "\0" in line:
        return ""
    return posixpath.normpath(line if line.startswith("/") else f"{base}/{line}")


def repositories(facts: HostFacts, request: Request) -> tuple[HostPath, ...]:
    """Git directories outside the workspace that it works with: the repository behind a `.git` file.

    SECURITY: the file is the checkout's word, and a hostile one could point at any directory. Only a place
    that points back to this very workspace counts, as git itself writes it: `<dir>/gitdir` for a worktree,
    `core.worktree` for a submodule (docs/threats.md, F9).
    """
    link = f"{request.workspace}/.git"
    found = fact(facts, link)
    if found.kind is not PathKind.FILE:
        return ()
    directory = pointer(found.text, request.workspace)
    back = fact(facts, f"{directory}/gitdir")
    if f"{directory}/".startswith(request.workspace + "/"):
        return ()  # inside the checkout: the checkout's own word twice
    if directory and back.kind is PathKind.FILE and pointer(back.text, directory) == link:
        common = fact(facts, f"{directory}/commondir")
        root = pointer(common.text, directory) if common.kind is PathKind.FILE else ""
        genuine = directory.startswith(root + "/worktrees/") and not link.startswith(root + "/")
        return (HostPath(root),) if root and genuine else ()
    config = fact(facts, f"{directory}/config")
    for line in config.text.splitlines():
        name, _, value = line.partition("=")
        if name.strip().lower() == "worktree" and pointer(value, directory) == request.workspace:
            return (HostPath(directory),)
    return ()


def references(facts: HostFacts, request: Request) -> list[str]:
    """Paths that must be looked at, once the `.git` file is known, before `repositories` can answer."""
    found = fact(facts, f"{request.workspace}/.git")
    if found.kind is not PathKind.FILE or not (directory := pointer(found.text, request.workspace)):
        return []
    return [f"{directory}/gitdir", f"{directory}/commondir", f"{directory}/config", directory]
