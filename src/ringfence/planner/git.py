"""Linked worktrees and submodules: a `.git` file that points to a git directory elsewhere (gitrepository-layout(5)).

SECURITY: the `.git` file is the checkout's word, and a hostile one could point at any directory. Only a git directory
that points back to this very workspace counts, as git itself writes it: `<dir>/gitdir` for a worktree, `core.worktree`
for a submodule. Paths must be real ones, since a link could lead back into the checkout; a directory that does not
look like a repository, or that holds the home directory or the workspace, is never exposed (docs/threats.md, G1).
"""

import posixpath

from ringfence.model.paths import HostPath
from ringfence.model.plan import HostFacts, PathKind

from .mounts import fact
from .request import Request
from .view import within


def pointer(text: str, directory: str) -> str:
    """The absolute path in a `gitdir:` or `commondir` file in `directory`; empty when it holds none."""
    line = text.removeprefix("gitdir:").strip()
    if not line or "\n" in line or "\0" in line:
        return ""
    return posixpath.normpath(line if line.startswith("/") else f"{directory}/{line}")


def repositories(facts: HostFacts, request: Request) -> tuple[HostPath, ...]:
    """Git directories outside the workspace that it works with: the repository behind a `.git` file."""
    directory = _behind(facts, request)
    if not directory or within(directory, request.workspace):
        return ()  # inside the checkout: the checkout's own word twice
    if not _is_real_directory(facts, directory):
        return ()
    root = _common(facts, directory)
    if root:
        back = fact(facts, f"{directory}/gitdir")
        linked = back.kind is PathKind.FILE and pointer(back.text, directory) == f"{request.workspace}/.git"
        found = root if linked and directory.startswith(f"{root}/worktrees/") else ""
    else:
        found = (
            directory if _worktree_of(fact(facts, f"{directory}/config").text, directory) == request.workspace else ""
        )
    holds = any(within(path, found) for path in (facts.home, request.workspace))
    return (HostPath(found),) if found and not holds and _is_repository(facts, found) else ()


def references(facts: HostFacts, request: Request) -> list[str]:
    """Paths that must be looked at next before `repositories` can answer; the same again once nothing is missing."""
    directory = _behind(facts, request)
    if not directory:
        return []
    names = [f"{directory}/{name}" for name in ("gitdir", "commondir", "config", "HEAD", "objects")]
    root = _common(facts, directory)
    return [directory, *names, *([root, f"{root}/HEAD", f"{root}/objects"] if root else [])]


def _behind(facts: HostFacts, request: Request) -> str:
    found = fact(facts, f"{request.workspace}/.git")
    return pointer(found.text, request.workspace) if found.kind is PathKind.FILE else ""


def _common(facts: HostFacts, directory: str) -> str:
    found = fact(facts, f"{directory}/commondir")
    return pointer(found.text, directory) if found.kind is PathKind.FILE else ""


def _worktree_of(config: str, directory: str) -> str:
    """`core.worktree` in the text of a git configuration file."""
    section = found = ""
    for line in config.splitlines():
        name, _, value = line.partition("=")
        section = line.strip() if line.lstrip().startswith("[") else section
        if name.strip().lower() == "worktree" and section.lower() == "[core]":
            found = pointer(value.strip().strip('"'), directory)
    return found


def _is_real_directory(facts: HostFacts, path: str) -> bool:
    known = fact(facts, path)
    return known.kind is PathKind.DIRECTORY and known.resolved == path


def _is_repository(facts: HostFacts, path: str) -> bool:
    head = fact(facts, f"{path}/HEAD").kind is PathKind.FILE
    return head and _is_real_directory(facts, path) and _is_real_directory(facts, f"{path}/objects")
