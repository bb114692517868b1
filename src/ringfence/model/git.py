"""What git may do over the network, and what may be signed: rules, as the planner hands them on."""

from enum import Enum

import msgspec

from .decision import Source


class LargeFiles(Enum):
    """What of git LFS passes."""

    NONE = "none"
    DOWNLOAD = "download"
    UPLOAD = "upload"  # and download


class Signer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A public key of SSH, as `TYPE BASE64`, that counts from one second since 1970 until another; 0 is no bound.

    Until the planner has read it, `key` may be the path of a file of such keys instead.
    """

    key: str
    after: int = 0
    before: int = 0


class Pushes(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a push may change: every command of it must be allowed, or none reaches the server.

    `refs` are full names with `*` (within a component) and `**`. `deny_paths` are globs of files that no pushed commit
    may change; `authors` and `committers` are patterns of e-mail addresses, empty for any. `signed`: each commit
    has a good signature of one of `signers`. Limits: 0 for none.
    """

    refs: tuple[str, ...] = ()
    force: bool = False
    delete: bool = False
    deny_paths: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()
    committers: tuple[str, ...] = ()
    signed: bool = False
    signers: tuple[Signer, ...] = ()
    max_refs: int = 16
    max_commits: int = 0
    max_bytes: int = 1 << 30


class GitRemote(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Repositories of one host, `host` canonical as in egress rules, `repositories` as `owner/name` with `*` and `**`.

    `fetch` and `push` say what passes; None for `push`: nothing is pushed. Ports are those of the egress rules.
    """

    host: str
    repositories: tuple[str, ...]
    source: Source
    fetch: bool = True
    push: Pushes | None = None
    lfs: LargeFiles = LargeFiles.NONE
    reason: str = ""


class Signing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Signatures made outside. `key` is a path (SSH) or a key's identifier (OpenPGP); `format` is `ssh` or `openpgp`.

    Empty `key`: nothing is signed. `tags`: tags as well as commits.
    """

    key: str = ""
    format: str = "ssh"
    tags: bool = True
    max_signatures: int = 100
    source: Source = Source(scope="default")


class Git(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything one run is promised about git. Without a remote for a host, git is HTTP like everything else there."""

    remotes: tuple[GitRemote, ...] = ()
    signing: Signing = Signing()
