"""What the vault (a confined process that holds values of secrets) and the supervisor say to each other.

As network/messages.py: SOCK_SEQPACKET, JSON with its type in `type`, descriptors as SCM_RIGHTS. No message of the vault
holds a value. One to the vault may: `Cleanse`, where a program inside has got hold of one and has sent it. What the
vault needs of the environment is in its environment when it starts.
"""

import msgspec

from ringfence.model.secrets import Secrets


class Keep(msgspec.Struct, frozen=True, kw_only=True, tag="keep"):
    """Supervisor -> vault, once: read these. `placeholders` are those of the vault it replaces (name to text).

    With `inherits` the last descriptor that comes along is an end of what the older vault speaks into.
    """

    secrets: Secrets
    placeholders: dict[str, str] = {}
    inherits: bool = False


class HandOver(msgspec.Struct, frozen=True, kw_only=True, tag="hand-over"):
    """Supervisor -> vault: leave what you hold to a successor, at the other end of what comes along."""


class Absent(msgspec.Struct, frozen=True):
    """A secret without a value: why, and what to do about it, in one line each. `is_unfit`: there is one, of no use."""

    name: str
    reason: str
    hint: str = ""
    is_unfit: bool = False


class Kept(msgspec.Struct, frozen=True, kw_only=True, tag="kept"):
    """Vault -> supervisor, once: what stands for each value that there is, and the secrets without one.

    `warnings` pairs a name with what is unwise about where its value is kept.
    """

    placeholders: dict[str, str]
    missing: tuple[Absent, ...] = ()
    warnings: tuple[tuple[str, str], ...] = ()


class Carry(msgspec.Struct, frozen=True, kw_only=True, tag="carry"):
    """Supervisor -> vault: be between the two descriptors, the proxy's (HTTP/1.1 in the clear) and the upstream host's.

    `scheme` is `http` or `https`; the vault makes TLS with the host. `connection` is the proxy's number.
    """

    connection: int
    scheme: str
    host: str
    port: int


class Retire(msgspec.Struct, frozen=True, kw_only=True, tag="retire"):
    """Supervisor -> vault: another one has taken over; carry on with what is being carried, then end."""


class Asking(msgspec.Struct, frozen=True, kw_only=True, tag="asking"):
    """Vault -> supervisor: policy says ASK about something found in a request. Answered by `Answered`."""

    request: int
    connection: int
    host: str
    port: int
    reason: str


class Answered(msgspec.Struct, frozen=True, kw_only=True, tag="answered"):
    """Supervisor -> vault."""

    request: int
    allowed: bool


class Told(msgspec.Struct, frozen=True, kw_only=True, tag="told"):
    """Vault -> supervisor: an event for the audit. `tainting`: the run has reached for a secret (policy/taint.py)."""

    kind: str
    code: str
    connection: int
    fields: dict[str, str | int | bool | None]
    tainting: bool = False


class Cleanse(msgspec.Struct, frozen=True, kw_only=True, tag="cleanse"):
    """Supervisor -> vault: take every value out of these texts. Answered by `Cleansed`, in the order of asking."""

    request: int
    texts: dict[str, str]


class Cleansed(msgspec.Struct, frozen=True, kw_only=True, tag="cleansed"):
    """Vault -> supervisor: the same texts; a value is replaced by its placeholder, a credential costs the whole."""

    request: int
    texts: dict[str, str]


class Judge(msgspec.Struct, frozen=True, kw_only=True, tag="judge"):
    """Supervisor -> vault: may this name be looked up? Answered by `Judged`, as `Cleanse` by `Cleansed`."""

    request: int
    host: str
    port: int


class Judged(msgspec.Struct, frozen=True, kw_only=True, tag="judged"):
    """Vault -> supervisor: why not, as a code and the reason; both empty where it may."""

    request: int
    code: str = ""
    reason: str = ""


class Minted(msgspec.Struct, frozen=True, kw_only=True, tag="minted"):
    """Vault -> supervisor: further placeholders, of values that came with an answer."""

    placeholders: dict[str, str]


FromVault = Kept | Asking | Told | Cleansed | Judged | Minted
ToVault = Keep | HandOver | Carry | Answered | Cleanse | Judge | Retire
PACKET_BYTES = 1 << 20

encode = msgspec.json.encode
from_vault = msgspec.json.Decoder(FromVault)
to_vault = msgspec.json.Decoder(ToVault)
