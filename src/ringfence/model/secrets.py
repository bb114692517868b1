"""Secrets as policy speaks of them: where they come from, what stands for them inside, where they may be put in.

Nothing here holds a value. Values are read and kept by one process beside the supervisor (session/vault_worker.py).
"""

from enum import Enum

import msgspec

from .decision import Source, Verdict


class Origin(Enum):
    """Where a value is read from."""

    ENVIRONMENT = "env"
    FILE = "file"
    COMMAND = "command"
    KEYRING = "keyring"
    HASHICORP_VAULT = "vault"
    AWS = "aws"
    ONE_PASSWORD = "op"  # noqa: S105 - the name of a program


class SecretSource(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One place. `locator` is what the origin understands: a variable, a path, `service/user`, `path#field`, `op://`.

    `argv` is the command of a COMMAND; `field` the dotted path of one value in a JSON or TOML file, empty for all.
    """

    origin: Origin
    locator: str = ""
    argv: tuple[str, ...] = ()
    field: str = ""


class Placing(Enum):
    """In which part of a request a placeholder is replaced."""

    HEADER = "header"  # anywhere in the header's value, also within the Base64 of `Basic`
    QUERY = "query"  # the value of a query parameter
    BODY = "body"  # the value of a field of a form or of JSON, `a.b` within objects
    SIGV4 = "sigv4"  # AWS Signature Version 4: signed anew with the value


class Injection(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a value is put in; each condition must hold. Empty `methods` and `paths` mean all.

    `host`, `ports`, `paths` are written and matched as in egress rules; TLS is always demanded. `name` is that of the
    header, parameter or field (lower case for headers). For SIGV4 the secret's value is the secret access key, and
    `key_id` names the secret with the access key's identifier.
    """

    host: str
    placing: Placing
    name: str = ""
    key_id: str = ""
    ports: tuple[tuple[int, int], ...] = ((443, 443),)
    methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    declared: Source = Source(scope="default")


class Capture(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An answer that brings new values (OAuth): these fields of its JSON are replaced by placeholders.

    `fields` maps a field to the secret whose value it becomes; that secret's injections hold for it.
    """

    host: str
    paths: tuple[str, ...]
    fields: tuple[tuple[str, str], ...]
    ports: tuple[tuple[int, int], ...] = ((443, 443),)
    declared: Source = Source(scope="default")


class SecretFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file inside with placeholders in it. `path` is the guest's, `~/` its home; `{NAME}` in `text` is a secret's.

    Doubled braces stand for one.
    """

    path: str
    text: str
    reason: str = ""
    declared: Source = Source(scope="default")


class Secret(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One secret. `variables` hold its placeholder inside; `optional`: without a value the run starts all the same.

    `scopes`: of a token whose server tells its scopes, those it may have at most; it is not used before that is known.
    """

    name: str
    source: SecretSource
    inject: tuple[Injection, ...] = ()
    captures: tuple[Capture, ...] = ()
    variables: tuple[str, ...] = ()
    optional: bool = False
    scopes: tuple[str, ...] | None = None
    reason: str = ""
    declared: Source = Source(scope="default")


class Leaks(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What becomes of a request that carries a secret out. DENY and ASK hold it; ALLOW passes it, recorded.

    `known` is about values of the vault, `found` about what the rules for well-known credentials match. `exempt` are
    hosts, as in egress rules, to which both may go; `rules` names the rules in force, None for all.
    """

    known: Verdict = Verdict.DENY
    found: Verdict = Verdict.DENY
    exempt: tuple[str, ...] = ()
    rules: tuple[str, ...] | None = None


class TaintResponse(Enum):
    """What a run loses once something in it has reached for a secret."""

    RECORD = "record"  # nothing; it is recorded
    ASK = "ask"  # whatever goes out is asked about
    NO_NEW_HOSTS = "no-new-hosts"  # hosts it has not yet spoken with
    NO_WRITES = "no-writes"  # requests that change something, and whatever is not inspected
    OFF = "off"  # the network


class Secrets(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything one run is promised about secrets. `leaks` None: nothing that goes out is searched.

    `mentions` are hosts, as in egress rules, in the bodies of whose requests (over TLS) a placeholder may stand where
    nothing is put in, and stays as it is: models, which are told what programs print.
    """

    secrets: tuple[Secret, ...] = ()
    files: tuple[SecretFile, ...] = ()
    leaks: Leaks | None = None
    mentions: tuple[str, ...] = ()
    on_taint: TaintResponse = TaintResponse.NO_NEW_HOSTS
