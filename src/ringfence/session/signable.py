"""What git asks to have signed: one commit or tag, in its one form, and nothing else (git-mktag(1)).

SECURITY: a signature is worth as much as what is signed by mistake is worth to somebody else: an SSH login challenge, a
package, a message to another repository's server. So the text must be what git itself writes, every header in its
place, each with one meaning. Pure: bytes in, a value out.
"""

import re

import msgspec

LIMIT_BYTES = 1 << 20
_ID = r"[0-9a-f]{40}|[0-9a-f]{64}"
_IDENTITY = r"(?P<name>[^<>\n]*) <(?P<email>[^<>\n]*)> (?P<time>[0-9]{1,12}) [+-][0-9]{4}"
_identity = re.compile(_IDENTITY)
_headers = re.compile(r"[a-z0-9-]+ [^\n]*(?:\n [^\n]*)*")
# An encoding in which the text's ASCII would mean something else is none that git's own tools write.
_encoding = re.compile(r"(?:utf-?8|iso-8859-[0-9]{1,2}|windows-125[0-9]|latin-?1|koi8-r|euc-jp|gbk)", re.IGNORECASE)
_tag_name = re.compile(r"[^\x00-\x20\x7f~^:?*\[\\]{1,200}")


class Identity(msgspec.Struct, frozen=True):
    """Somebody, as the object names them."""

    name: str
    email: str


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """A commit without its signature."""

    tree: str
    parents: tuple[str, ...]
    author: Identity
    committer: Identity
    subject: str


class Tag(msgspec.Struct, frozen=True, kw_only=True):
    """An annotated tag without its signature; `target` is what it names, of type `type`."""

    name: str
    target: str
    type: str
    tagger: Identity
    subject: str


def read(data: bytes) -> Commit | Tag:
    """Read one object; raise ValueError with the reason for whatever is not exactly one commit or tag."""
    if len(data) > LIMIT_BYTES:
        raise ValueError(f"it is larger than {LIMIT_BYTES} bytes")
    if not data.startswith((b"tree ", b"object ")):
        raise ValueError("it is neither a commit nor a tag")
    if b"\0" in data:
        raise ValueError("it holds a NUL byte")
    head, blank, message = data.partition(b"\n\n")
    if not blank:
        raise ValueError("it has no message")
    fields = _fields(head.decode("utf-8", "replace"))
    names = [name for name, _ in fields]
    subject = message.lstrip(b"\n").partition(b"\n")[0].decode("utf-8", "replace")
    if names[0] == "tree":
        return _commit(fields, subject)
    if b"-----BEGIN " in message:
        raise ValueError("its message holds a signature already")
    return _tag(fields, subject)


def _fields(head: str) -> list[tuple[str, str]]:
    """The headers in order; a continued line begins with a space."""
    found = _headers.findall(head)
    if not found or "\n".join(found) != head:
        raise ValueError("its headers are not those of a git object")
    return [(name, value) for name, _, value in (one.partition(" ") for one in found)]


def _commit(fields: list[tuple[str, str]], subject: str) -> Commit:
    names = [name for name, _ in fields]
    parents = names.count("parent")
    wanted = ["tree", *["parent"] * parents, "author", "committer"]
    more = names[len(wanted) :]
    merged = more[1:] if more[:1] == ["encoding"] else more
    if names[: len(wanted)] != wanted or any(name != "mergetag" for name in merged):
        raise ValueError("its headers are not those of a commit")
    values = [value for _, value in fields]
    if "encoding" in more and not _encoding.fullmatch(values[len(wanted)]):
        raise ValueError("its encoding is not one that git's tools write")
    identifiers = values[: 1 + parents]
    _check_identifiers(identifiers)
    if any("\n" in value for value in values[: len(wanted)]):
        raise ValueError("a header is continued")
    author, committer = (_person(value) for value in values[1 + parents : 3 + parents])
    return Commit(
        tree=identifiers[0], parents=tuple(identifiers[1:]), author=author, committer=committer, subject=subject
    )


def _tag(fields: list[tuple[str, str]], subject: str) -> Tag:
    if [name for name, _ in fields] != ["object", "type", "tag", "tagger"]:
        raise ValueError("its headers are not those of a tag")
    target, kind, name, tagger = (value for _, value in fields)
    _check_identifiers([target])
    if kind not in ("commit", "tree", "blob", "tag"):
        raise ValueError("what it tags is no git object")
    if not _tag_name.fullmatch(name) or name.startswith("-") or ".." in name or "@{" in name:
        raise ValueError("its name is not one that git accepts")
    return Tag(name=name, target=target, type=kind, tagger=_person(tagger), subject=subject)


def _check_identifiers(found: list[str]) -> None:
    if len({len(one) for one in found}) != 1 or not all(re.fullmatch(_ID, one) for one in found):
        raise ValueError("an object's identifier is not one")
    if len(set(found)) != len(found):
        raise ValueError("an object is named twice")


def _person(value: str) -> Identity:
    found = _identity.fullmatch(value)
    if found is None:
        raise ValueError("an author, committer or tagger is not written as git does")
    return Identity(found["name"], found["email"])
