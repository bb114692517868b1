"""`[[secret-files]]` to `SecretFile`: what well-known tools read, with placeholders where their passwords are."""

import re
import string
from collections.abc import Collection, Sequence

import msgspec
from msgspec import UNSET

from ringfence.model.decision import Source
from ringfence.model.errors import UsageError
from ringfence.model.secrets import SecretFile
from ringfence.policy.document import Layer
from ringfence.policy.parse import shown

from .tables import NAME, SecretFileTable

_LOGIN = "x-access-token"  # what forges take beside a token; most take any name


class _Kind(msgspec.Struct, frozen=True):
    """Where a tool looks, for which host, and what it reads there; `[...]` are the keys of the table."""

    path: str
    host: str
    text: str
    joined: bool = False  # several tables of one path make one file


_KINDS = {
    "netrc": _Kind("~/.netrc", "", "machine [host] login [login] password {[secret]}\n", joined=True),
    "gh": _Kind(
        "~/.config/gh/hosts.yml",
        "github.com",
        "[host]:\n    oauth_token: {[secret]}\n    user: [login]\n    git_protocol: https\n",
        joined=True,
    ),
    "npmrc": _Kind("~/.npmrc", "", "//[host]/:_authToken={[secret]}\n", joined=True),
    "pypirc": _Kind(
        "~/.pypirc",
        "",
        "[[distutils]]\nindex-servers =\n    pypi\n\n[[pypi]]\nrepository = https://[host]/\nusername = __token__\n"
        "password = {[secret]}\n",
    ),
    "aws": _Kind(
        "~/.aws/credentials",
        "",
        "[[default]]\naws_access_key_id = {[key-id]}\naws_secret_access_key = {[secret]}\n",
    ),
    "kubeconfig": _Kind(
        "~/.kube/config",
        "",
        "apiVersion: v1\nkind: Config\ncurrent-context: default\nclusters:\n- name: default\n  cluster:\n"
        "    server: https://[host]\nusers:\n- name: default\n  user:\n    token: {[secret]}\ncontexts:\n"
        "- name: default\n  context:\n    cluster: default\n    user: default\n",
    ),
    # Docker's own client also reads name and password apart; `auth` would be their Base64.
    "docker": _Kind(
        "~/.docker/config.json",
        "index.docker.io/v1/",
        '{{"auths": {{"https://[host]": {{"username": "[login]", "password": "{[secret]}"}}}}}}\n',
    ),
}
_HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*/?|\[[0-9A-Fa-f:]+\](:[0-9]{1,5})?")


def files(ordered: Sequence[Layer], names: Collection[str]) -> tuple[SecretFile, ...]:
    """Join the files of all layers, a higher layer's first; `names` are the secrets that there are."""
    found: dict[str, SecretFile] = {}
    for layer in ordered:
        written: dict[str, SecretFile] = {}
        listed = layer.document.secret_files
        for index, table in enumerate(() if listed is UNSET else listed):
            place = layer.source("secret-files", index)
            file = _file(table, place)
            _check_text(file.text, names, layer.source("secret-files", index, "text"))
            written[file.path] = _joined(written.get(file.path), file, joins=_joins(table))
        found = written | found
    return tuple(found[path] for path in sorted(found))


def _joins(table: SecretFileTable) -> bool:
    return table.kind is not UNSET and _KINDS[table.kind].joined


def _joined(before: SecretFile | None, file: SecretFile, *, joins: bool) -> SecretFile:
    if before is None:
        return file
    if not joins:
        hint = f"it is written at {before.declared} as well; write one text, or choose another path"
        raise UsageError(f"two secret files are {shown(file.path)}", place=str(file.declared), hint=hint)
    return msgspec.structs.replace(before, text=before.text + file.text)


def _file(table: SecretFileTable, place: Source) -> SecretFile:
    if (table.kind is UNSET) is (table.text is UNSET):
        hint = "write `path` and `text`, or `kind`, `secret` and what that kind needs"
        raise UsageError("a secret file needs either `text` or `kind`", place=str(place), hint=hint)
    path = table.path
    if path is UNSET and table.kind is not UNSET:
        path = _KINDS[table.kind].path
    text = table.text if table.text is not UNSET else _text(table, place)
    if path is UNSET:
        raise UsageError("a secret file with a `text` needs a `path`", place=str(place), hint='as in "~/.netrc"')
    return SecretFile(path=_path(path, place), text=text, reason=table.reason, declared=place)


def _path(path: str, place: Source) -> str:
    parts = path.split("/")[1:]
    if not path.startswith(("/", "~/")) or not path.isprintable() or any(part in ("", ".", "..") for part in parts):
        hint = "write the path of a file, from `/` or `~/`, without `.` and `..`"
        raise UsageError(f"{shown(path)} is not the place of a secret file", place=str(place), hint=hint)
    return path


def _text(table: SecretFileTable, place: Source) -> str:
    """Return the text of a file of a well-known kind."""
    kind = _KINDS[str(table.kind)]
    given = {"secret": table.secret or "", "key-id": table.key_id or "", "login": table.login or _LOGIN}
    given["host"] = _host(table.host or kind.host, place)
    for name, value in given.items():
        wanted = f"[{name}]" in kind.text
        if wanted and not value:
            raise UsageError(f"`{table.kind}` needs `{name}`", place=str(place), hint=f"add `{name}`")
        if not wanted and getattr(table, name.replace("-", "_")) is not UNSET:
            raise UsageError(f"`{table.kind}` takes no `{name}`", place=str(place), hint=f"remove `{name}`")
    text = kind.text.replace("[[", "\0").replace("]]", "\1")
    for name, value in given.items():
        text = text.replace(f"[{name}]", value)
    return text.replace("\0", "[").replace("\1", "]")


def _host(text: str, place: Source) -> str:
    if text and not _HOST.fullmatch(text):
        hint = "write it as the tool does: a host, where needed with port and path, without `https://`"
        raise UsageError(f"{shown(text)} is not a host", place=str(place), hint=hint)
    return text


def _check_text(text: str, names: Collection[str], place: Source) -> None:
    """Raise for what `model.filling` could not fill, and for a name that is no secret's."""
    try:
        fields = [(name, *rest) for _, name, *rest in string.Formatter().parse(text) if name is not None]
    except ValueError as error:
        hint = "write `{{` and `}}` for braces, `{NAME}` for a secret"
        raise UsageError(f"the text of a secret file is not sound: {error}", place=str(place), hint=hint) from None
    for name, form, conversion in fields:
        if form or conversion or not re.search(NAME, str(name)):
            hint = "write `{{` and `}}` for braces, `{NAME}` for a secret"
            raise UsageError(f"{shown('{' + str(name) + '}')} is not the name of a secret", place=str(place), hint=hint)
        if name not in names:
            hint = f"define `[secrets.{name}]`, or write `{{{{` and `}}}}` for braces"
            raise UsageError(f"there is no secret `{name}`", place=str(place), hint=hint)
    if not fields:
        hint = "write `{NAME}` where a secret belongs"
        raise UsageError("a secret file holds no secret", place=str(place), hint=hint)
