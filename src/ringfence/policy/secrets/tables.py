"""The types of `[secrets.NAME]`, `[[secret-files]]` and `[leaks]`, exactly as written (see `policy.document`)."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from ringfence.policy.fields import METHOD, VARIABLE, Line, NoNul, Ports, Table, key

NAME = r"^[a-z][a-z0-9-]*$(?!\n)"
# A header's name is a token (RFC 9110, section 5.1).
HEADER = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$(?!\n)"

SecretName = Annotated[str, Meta(pattern=NAME)]
_REASON = "one line of text"
_A_PORT = 'a port, or a range such as "8000-8010"'
_A_HOST = "a host, or `*.host`"
_A_NAME = "the name of a secret"


class SourceTable(Table, frozen=True):
    """Where a secret's value is read from: exactly one place."""

    env: Annotated[
        Annotated[str, Meta(pattern=VARIABLE)] | UnsetType,
        key("A variable of the launching environment.", "the name of a variable"),
    ] = UNSET
    file: Annotated[NoNul | UnsetType, key("A file: absolute, or from `~/`.", "a path")] = UNSET
    field: Annotated[
        NoNul | UnsetType, key("Of a JSON or TOML file only the value at `a.b`.", "the dotted path of a value")
    ] = UNSET
    command: Annotated[
        tuple[NoNul, ...] | UnsetType,
        key("A command that prints it, run without a shell.", "a list of words", entry="a word of the command"),
    ] = UNSET
    keyring: Annotated[NoNul | UnsetType, key("An entry of the desktop's keyring.", "`SERVICE/USER`")] = UNSET
    vault: Annotated[NoNul | UnsetType, key("A field of HashiCorp Vault.", "`PATH#FIELD`")] = UNSET
    aws: Annotated[NoNul | UnsetType, key("AWS Secrets Manager.", "`SECRET-ID`, or `SECRET-ID#FIELD`")] = UNSET
    op: Annotated[NoNul | UnsetType, key("1Password.", "`op://VAULT/ITEM/FIELD`")] = UNSET


class InjectTable(Table, frozen=True):
    """Where a secret is put in: one host, and one of `header`, `query`, `body` and `sigv4`. TLS is always demanded."""

    host: Annotated[NoNul, key("The host, or `*.host` for all below it.", _A_HOST)]
    ports: Annotated[Ports, key("Ports and ranges.", "a list of ports", entry=_A_PORT)] = (443,)
    methods: Annotated[
        Annotated[tuple[Annotated[str, Meta(pattern=METHOD)], ...], Meta(min_length=1)],
        key("Only these methods.", "a list of methods", entry="a method in capital letters"),
    ] = ()
    paths: Annotated[
        Annotated[tuple[NoNul, ...], Meta(min_length=1)],
        key("Only these paths; `*` within a segment, `**` across.", "a list", entry="a path"),
    ] = ()
    header: Annotated[
        Annotated[str, Meta(pattern=HEADER)] | UnsetType,
        key("Anywhere in this header, also within the Base64 of `Basic`.", "the name of a header"),
    ] = UNSET
    query: Annotated[NoNul | UnsetType, key("The value of this parameter of the URL.", "a name")] = UNSET
    body: Annotated[
        NoNul | UnsetType, key("The value of this field of a form or of JSON; `a.b` within objects.", "a name")
    ] = UNSET
    sigv4: Annotated[bool, key("Sign anew, as AWS does (Signature Version 4).", "`true` or `false`")] = False
    key_id: Annotated[
        SecretName | UnsetType, key("With `sigv4`: the secret that holds the access key's identifier.", _A_NAME)
    ] = UNSET


class CaptureTable(Table, frozen=True):
    """An answer that brings new values, as when a login is renewed: they become placeholders."""

    host: Annotated[NoNul, key("The host, or `*.host` for all below it.", _A_HOST)]
    paths: Annotated[tuple[NoNul, ...], key("Answers to requests of these paths.", "a list", entry="a path")]
    fields: Annotated[
        dict[NoNul, SecretName],
        key(
            "Fields of the answer's JSON, each with the secret whose value it becomes.",
            "a table of fields",
            entry="the name of a secret under the name of a field",
        ),
    ]
    ports: Annotated[Ports, key("Ports and ranges.", "a list of ports", entry=_A_PORT)] = (443,)


class SecretTable(Table, frozen=True):
    """A secret: its value stays outside, a placeholder stands for it inside."""

    source: Annotated[
        SourceTable | UnsetType, key("Where its value is read from.", 'a table such as `{ env = "TOKEN" }`')
    ] = UNSET
    inject: Annotated[
        tuple[InjectTable, ...],
        key("Where its placeholder is replaced by the value.", "a list of tables", entry="a table `{ host, header }`"),
    ] = ()
    capture: Annotated[
        tuple[CaptureTable, ...],
        key("Answers that bring new values.", "a list of tables", entry="a table `{ host, paths, fields }`"),
    ] = ()
    variables: Annotated[
        tuple[Annotated[str, Meta(pattern=VARIABLE)], ...],
        key("Variables that hold its placeholder inside.", "a list of variable names", entry="a variable name"),
    ] = ()
    optional: Annotated[bool, key("Run without it where it has no value.", "`true` or `false`")] = False
    scopes: Annotated[
        tuple[Line, ...] | UnsetType,
        key("Scopes that the token may have at most.", "a list of scopes", entry="the name of a scope"),
    ] = UNSET
    enabled: Annotated[bool, key("`false` takes back a secret of a preset.", "`true` or `false`")] = True
    reason: Annotated[Line, key("Why it is there; shown by `explain`.", _REASON)] = ""


_FileKind = Literal["netrc", "gh", "npmrc", "pypirc", "aws", "kubeconfig", "docker"]


class SecretFileTable(Table, frozen=True):
    """A file inside with placeholders: a text of yours, or what a well-known tool reads."""

    path: Annotated[NoNul | UnsetType, key("Where it is inside: absolute, or from `~/`.", "a path")] = UNSET
    text: Annotated[NoNul | UnsetType, key("Its text; `{NAME}` is a secret's placeholder, `{{` a brace.", "a text")] = (
        UNSET
    )
    kind: Annotated[
        _FileKind | UnsetType,
        key("Written for this tool.", "`netrc`, `gh`, `npmrc`, `pypirc`, `aws`, `kubeconfig` or `docker`"),
    ] = UNSET
    secret: Annotated[SecretName | UnsetType, key("With `kind`: the password, token or key.", _A_NAME)] = UNSET
    host: Annotated[NoNul | UnsetType, key("With `kind`: the host it is for.", "a host, with a path where needed")] = (
        UNSET
    )
    login: Annotated[
        Annotated[str, Meta(min_length=1, pattern=r"^[^\x00-\x20\x7f-\x9f\"\\{}]*$(?!\n)")] | UnsetType,
        key("With `kind`: the user's name.", "a name without spaces"),
    ] = UNSET
    key_id: Annotated[
        SecretName | UnsetType, key('With `kind = "aws"`: the secret with the access key\'s identifier.', _A_NAME)
    ] = UNSET
    reason: Annotated[Line, key("Why it is there; shown by `explain`.", _REASON)] = ""


_VERDICT = "`deny`, `ask` or `allow`"


class LeaksTable(Table, frozen=True):
    """What becomes of requests that carry a secret out; without one of the first four keys none is searched."""

    known: Annotated[
        Literal["deny", "ask", "allow"] | UnsetType, key("Values of the secrets of this policy.", _VERDICT)
    ] = UNSET
    found: Annotated[
        Literal["deny", "ask", "allow"] | UnsetType, key("What looks like a well-known credential.", _VERDICT)
    ] = UNSET
    exempt: Annotated[
        tuple[NoNul, ...] | UnsetType, key("Hosts to which both may go.", "a list of hosts", entry=_A_HOST)
    ] = UNSET
    rules: Annotated[
        tuple[SecretName, ...] | UnsetType,
        key("Only these rules for credentials.", "a list of rules", entry="the name of a rule"),
    ] = UNSET
    mentions: Annotated[
        tuple[NoNul, ...] | UnsetType,
        key("Hosts of models: placeholders may stand in bodies there.", "a list of hosts", entry=_A_HOST),
    ] = UNSET
    on_taint: Annotated[
        Literal["record", "ask", "no-new-hosts", "no-writes", "off"] | UnsetType,
        key(
            "What a run loses once it has reached for a secret.",
            "`record`, `ask`, `no-new-hosts`, `no-writes` or `off`",
        ),
    ] = UNSET
