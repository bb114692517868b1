"""The types of `[[git.remotes]]` and `[git.signing]`, exactly as written (see `policy.document`)."""

from typing import Annotated, Literal

from msgspec import UNSET, UnsetType

from ringfence.policy.fields import A_COUNT, A_SIZE, Count, Line, NoNul, Size, Table
from ringfence.policy.fields import key as describe

_FLAG = "`true` or `false`"
_PATTERNS = "a list of patterns"
_ADDRESS = "an e-mail address; `*` stands for any text"


class PushTable(Table, frozen=True):
    """What a push may change; where one of its commands may not, none is carried out."""

    refs: Annotated[
        tuple[NoNul, ...],
        describe(
            "Full names of refs; `*` within a component, `**` across, `!` in front takes out.",
            "a list of refs",
            entry="a full name such as `refs/heads/agent/*`",
        ),
    ]
    force: Annotated[bool, describe("Also what is no fast-forward.", _FLAG)] = False
    delete: Annotated[bool, describe("Also deletions.", _FLAG)] = False
    deny_paths: Annotated[
        tuple[NoNul, ...],
        describe("Files that no pushed commit may change, in gitignore's notation.", _PATTERNS, entry="a pattern"),
    ] = ()
    authors: Annotated[tuple[NoNul, ...], describe("Only these authors.", _PATTERNS, entry=_ADDRESS)] = ()
    committers: Annotated[tuple[NoNul, ...], describe("Only these committers.", _PATTERNS, entry=_ADDRESS)] = ()
    signed: Annotated[bool, describe("Only commits with a good signature of one of `signers`.", _FLAG)] = False
    signers: Annotated[
        tuple[NoNul, ...],
        describe(
            "Whose: public SSH keys, or files of them; unset, the key of `git.signing`.",
            "a list of keys",
            entry="a public key such as `ssh-ed25519 AAAA...`, or the path of a file of them",
        ),
    ] = ()
    max_refs: Annotated[Count, describe("Refs in one push.", A_COUNT)] = 16
    max_commits: Annotated[Count, describe("Commits in one push.", A_COUNT)] = 0
    max_bytes: Annotated[Size, describe("Size of one push.", A_SIZE)] = "1GiB"


class RemoteTable(Table, frozen=True):
    """Repositories of one host. Of a host that is named here, no other repository is reached by git."""

    host: Annotated[NoNul, describe("The host, as in `network.allow`.", "a host")]
    repositories: Annotated[
        tuple[NoNul, ...],
        describe(
            "Repositories; `*` within a name, `**` across, `!` in front takes out.",
            "a list of repositories",
            entry="a repository such as `owner/name`",
        ),
    ]
    fetch: Annotated[bool, describe("Whether they may be fetched and cloned.", _FLAG)] = True
    push: Annotated[
        PushTable | UnsetType, describe("What may be pushed; without, nothing.", "a table `{ refs = [...] }`")
    ] = UNSET
    lfs: Annotated[
        Literal["none", "download", "upload"],
        describe("Large files: `upload` includes `download`.", "`none`, `download` or `upload`"),
    ] = "none"
    reason: Annotated[Line, describe("Why the entry is there; shown by `explain`.", "one line of text")] = ""


class SigningTable(Table, frozen=True):
    """Signatures of commits, made outside with a key that never enters."""

    key: Annotated[
        NoNul, describe("The private key (SSH): absolute, or from `~/`; or its identifier (OpenPGP).", "a key")
    ]
    format: Annotated[Literal["ssh", "openpgp"], describe("The kind of key.", "`ssh` or `openpgp`")] = "ssh"
    tags: Annotated[bool, describe("Tags as well.", _FLAG)] = True
    max_signatures: Annotated[Count, describe("Signatures in one run.", A_COUNT)] = 100


class GitTable(Table, frozen=True):
    """Git over the network, and signatures."""

    remotes: Annotated[
        tuple[RemoteTable, ...] | UnsetType,
        describe("What git may fetch and push.", "tables `[[git.remotes]]`", entry="a table `{ host, repositories }`"),
    ] = UNSET
    signing: Annotated[SigningTable | UnsetType, describe("What may be signed.", "a table")] = UNSET
