"""Git inside: git directories that lie elsewhere, and how it has something signed.

Linked worktrees and submodules have a `.git` file that points to their git directory (gitrepository-layout(5)).

SECURITY: the `.git` file is the checkout's word, and a hostile one could point at any directory. Only a git directory
that points back to this very workspace counts, as git itself writes it: `<dir>/gitdir` for a worktree, `core.worktree`
for a submodule. Paths must be real ones, since a link could lead back into the checkout; a directory that does not
look like a repository, or that holds the home directory or the workspace, is never exposed (docs/threats.md, G1).
"""

import posixpath
import re
import shlex
from collections.abc import Sequence

from ringfence.model.errors import UsageError
from ringfence.model.git import Signing
from ringfence.model.paths import GuestPath, HostPath
from ringfence.model.plan import HostFacts, Mount, MountKind, PathKind

from .mounts import INSIDE, fact, quoted
from .request import Request
from .view import HOST, deciding, within

SIGNER = "/run/ringfence/sign"
SIGNERS = "/run/ringfence/signers"
_PRINCIPAL = re.compile(r"[A-Za-z0-9_.+-]+@[A-Za-z0-9_.-]+")  # no pattern of ssh-keygen's ALLOWED SIGNERS
_KEY_TYPE = re.compile(r"[a-z0-9@.-]{3,64}")
_KEY_BLOB = re.compile(r"[A-Za-z0-9+/]+={0,2}")


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


def signing_paths(signing: Signing, home: str) -> list[str]:
    """Host paths that signing needs to know: the public half of an SSH key. The private one is not looked at."""
    return [f"{_key_path(signing, home)}.pub"] if signing.key and signing.format == "ssh" else []


def signing_files(signing: Signing, facts: HostFacts) -> list[Mount]:
    """The program that git runs to sign, and the signer whom it may believe; none where nothing is signed."""
    if not signing.key:
        return []
    program, signs = ("ssh-keygen", '"-Y sign "*') if signing.format == "ssh" else ("gpg", '*" -bsau "*')
    ask = f"exec {shlex.quote(facts.python)} -I -S {INSIDE}/sign.py {program}"
    text = f'#!/bin/sh\ncase "$*" in {signs}) {ask} "$@";; esac\nexec {program} "$@"\n'
    found = [_file(SIGNER, text, 0o555, "signs by asking the supervisor: no key is inside")]
    if signing.format == "ssh":
        name = facts.git_email if _PRINCIPAL.fullmatch(facts.git_email) else "operator"
        line = f'{name} namespaces="git" {public_key(signing, facts)}\n'
        found.append(_file(SIGNERS, line, 0o444, "by which git recognises what was signed here"))
    return found


def signing_settings(signing: Signing, facts: HostFacts) -> str:
    """What the generated .gitconfig says of signing: git-config(1), `gpg.format` and below."""
    if not signing.key:
        return ""
    if signing.format == "ssh":
        public = public_key(signing, facts)
        key = public if public.startswith("ssh-") else f"key::{public}"
        program = f'[gpg "ssh"]\n\tprogram = {SIGNER}\n\tallowedSignersFile = {SIGNERS}\n'
    else:
        key, program = signing.key, f'[gpg "openpgp"]\n\tprogram = {SIGNER}\n'
    asked = "".join(f"[{what}]\n\tgpgSign = true\n" for what in facts.git_signs if what == "commit" or signing.tags)
    return f"[user]\n\tsigningKey = {quoted(key)}\n[gpg]\n\tformat = {signing.format}\n{program}{asked}"


def public_key(signing: Signing, facts: HostFacts) -> str:
    """The public half of an SSH key as OpenSSH writes it, without its comment; raise UsageError where there is none."""
    path = _key_path(signing, facts.home)
    words = fact(facts, f"{path}.pub").text.split()
    if len(words) < 2 or not _KEY_TYPE.fullmatch(words[0]) or not _KEY_BLOB.fullmatch(words[1]):
        raise UsageError(
            f"no public key in `{path}.pub`, beside the key that is to sign",
            place=str(signing.source),
            hint=f"`ssh-keygen -y -f {path} > {path}.pub` writes that of a key; `ssh-keygen -f {path}` makes both",
        )
    return f"{words[0]} {words[1]}"


def check_key(view: Sequence[Mount], signing: Signing, facts: HostFacts) -> None:
    """Refuse a view in which the key that signs can be read; raise UsageError."""
    path = _key_path(signing, facts.home)
    if signing.key and signing.format == "ssh" and (shown := deciding(view, path)).kind in HOST:
        raise UsageError(
            f"the signing key `{path}` would be readable inside, below `{shown.target}`",
            place=str(shown.origin),
            hint="keep the key elsewhere, or do not show that directory",
        )


def _key_path(signing: Signing, home: str) -> str:
    return f"{home}/{signing.key[2:]}" if signing.key.startswith("~/") else signing.key


def _file(path: str, text: str, mode: int, reason: str) -> Mount:
    return Mount(kind=MountKind.FILE, target=GuestPath(path), text=text, mode=mode, reason=reason)
