"""What one checkout would put in force: the surfaces found, the files they call, and one digest over all of it.

Pure: what is on disk is asked through `Look`. How files that a surface calls are found: nothing of a surface is
interpreted. Its words are taken one by one, and each that names a file of the same checkout counts as called, in any
format and wherever it stands; directories that it names are tried as starting points. Of what is called in turn,
scripts count, and every word on a line that loads something, with the endings that languages leave out (`import a.b`,
`require("./c")`). That finds more than what is really run. What is put together only when it runs (variables,
substitutions, patterns, addresses, programs that read files of their own) is listed as `unresolved`, so that whoever
decides knows what the digest does not cover.
"""

import hashlib
import posixpath
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator

import msgspec

FORMAT = b"ringfence trust 1\n"
CALLED_LIMIT = 512
UNRESOLVED_LIMIT = 64
PATH_LIMIT = 1024
BASES_LIMIT = 16

_PROJECT = re.compile(
    r"""["']?\$[{(]?(?:CLAUDE_PROJECT_DIR|workspaceFolder|workspaceRoot|containerWorkspaceFolder|localWorkspaceFolder
    |PWD|config_root|pwd|git\ rev-parse\ --show-toplevel|dirname\ ["']?\$0["']?|DIRENV_DIR)[})]?["']?/""",
    re.VERBOSE,
)
_PERMISSIONS = re.compile(
    r"\b(?:Edit|Read|Write|Glob|Grep|NotebookEdit)\([^)\n]{0,500}\)"
)  # rules name, they do not call
_ADDRESS = re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s\"'`)>\]]+", re.IGNORECASE)
_WORD = re.compile(r"[^\s\"'`=,;:|&<>(){}\[\]\\]+")
_IMPORT = re.compile(r"(?:^|\s)@([^\s`'\"]+)|!`([^`\n]*)`")  # in a text for agents: files and commands it pulls in
_COMMENT = re.compile(r"^[ \t]*#.*$", re.MULTILINE)
_HOOKS = re.compile(r"^[ \t]*(?:hookspath|templatedir)\s*=\s*\"?([^\"\n;#]+)", re.IGNORECASE | re.MULTILINE)
_BLANKS = tuple(map(re.compile, (r"'([^'\n]{1,300})'", r'"([^"\n]{1,300})"', r"(?<!\S)((?:[^\s\\]+\\+ )+[^\s\\\"']+)")))
_LOADING = re.compile(
    r"(?<![\w-])(?:source|import|from|require\w*|include\w*|load\w*|use|exec\w*|eval|spawn\w*|run|sh|bash|zsh|python[\d.]*"
    r"|node|ruby|perl|deno|bun|tsx|cd|pushd)(?![\w-])|(?:^|[;&|\s])\.\s|\s-m\s"
)
_ENDINGS = ("", ".py", ".js", ".ts", ".mjs", ".cjs", ".sh", ".rb", ".pl", "/__init__.py", "/__main__.py", "/index.js")
_OPEN = re.compile(
    r"[$`]\(?\{?[\w\"]+|(?<![\w.])~/\S*|(?<![\w./*@-])/(?!usr/|bin/|dev/null|\W|$)[\w.-]+/\S*|(?<![\w./-])[\w.-]+/[\w./-]*[*?][\w./*?-]*"
)
_RUNNERS = frozenset("npm npx pnpm yarn bun bunx make just task uvx pipx tox nox cargo mvn gradle rake bundle".split())
_SCRIPTS = (".sh", ".bash", ".zsh", ".fish", ".py", ".js", ".cjs", ".mjs", ".ts", ".rb", ".pl", ".php", ".lua", ".ps1")
_TASKS = ("tasks.json", "devcontainer.json", ".code-workspace")
_TEXTS = (".md", ".mdc", ".txt", "rules", ".goosehints")


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One file, link or unreadable place. `path` is relative to the checkout, or absolute for a git directory outside.

    `digest` is the SHA-256 of a file's content or a link's target. `top` is what has to be hidden for it, empty where
    nothing has. `text` is a small file's content while it is looked through, None where it cannot be.
    """

    path: str
    kind: str  # file, link, directory, other, unreadable
    digest: str = ""
    executable: bool = False
    top: str = ""
    loader: str = ""
    reason: str = ""
    called_by: str = ""
    text: str | None = ""


Look = Callable[[str, bool], list[Found]]
"""What is at a path of the checkout, links resolved; of a directory itself, or where the second says so all files."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Entries by path; `unresolved`: pairs of path and words; `never`: places that are shown to nobody."""

    entries: tuple[Found, ...]
    unresolved: tuple[tuple[str, str], ...] = ()
    never: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """The SHA-256 over path, kind, content and executable bit of every entry."""
        total = hashlib.sha256(FORMAT)
        for path, content in self.contents().items():
            for data in (path.encode("utf-8", "surrogateescape"), content.encode("utf-8", "surrogateescape")):
                total.update(b"%d:%b" % (len(data), data))
        return total.hexdigest()

    @property
    def hidden(self) -> tuple[str, ...]:
        """What has to be hidden as long as nobody trusts it."""
        return tuple(sorted({entry.top for entry in self.entries if entry.top}))

    def contents(self) -> dict[str, str]:
        """What tells one entry from a later one, by path."""
        return {entry.path: f"{entry.kind} {'x' if entry.executable else '-'} {entry.digest}" for entry in self.entries}


def build(surfaces: Iterable[Found], never: Iterable[str], look: Look) -> Manifest:
    """Add what the surfaces call, and what that calls, to what was found. The order of what was found plays no part."""
    entries = {one.path: one for one in sorted(surfaces, key=lambda one: one.path)}
    unresolved: set[tuple[str, str]] = set()
    queue, room = deque(entries.values()), len(entries) + CALLED_LIMIT
    while queue:
        one = queue.popleft()
        entries[one.path] = msgspec.structs.replace(one, text="")
        unresolved.update((one.path, words) for words in _opaque(one))
        for target, loaded in _targets(one, look):
            if target.kind == "directory" or len(entries) >= room:
                unresolved.add((one.path, f"{target.path}: not followed"))
            elif target.path not in entries and (loaded or target.executable or target.path.endswith(_SCRIPTS)):
                reason = f"`{one.path}` names it"
                called = msgspec.structs.replace(
                    target, called_by=one.path, reason=reason, loader=_inherited(one, target)
                )
                entries[called.path] = called
                queue.append(called)
    ordered = tuple(entries[path] for path in sorted(entries))
    return Manifest(entries=ordered, unresolved=tuple(sorted(unresolved)), never=tuple(sorted(set(never))))


def _text(one: Found) -> str:
    """What of a file can call others: of a text for agents its imports, of an editor's settings its tasks."""
    if one.kind != "file" or one.loader == "pointer" or (one.loader == "editor" and not one.path.endswith(_TASKS)):
        return ""
    text = one.text or ""
    if one.loader == "ringfence":
        return _COMMENT.sub("", text)  # ours is read by nobody but us, and calls nothing
    if one.loader == "agent" and one.path.lower().endswith(_TEXTS):
        return "\n".join(f"{path} {command}" for path, command in _IMPORT.findall(text))
    if one.path.lower().endswith(".json"):
        text = _decoded(text)
    return _PERMISSIONS.sub(" ", _PROJECT.sub("./", text.replace('\\"', "")))


def _decoded(text: str) -> str:
    """JSON with the escapes of its strings resolved; anything else as it is."""
    try:
        return msgspec.json.encode(msgspec.json.decode(text)).decode()
    except (msgspec.DecodeError, RecursionError):
        return text


def _opaque(one: Found) -> Iterator[str]:
    """What of a file cannot be followed to a file of the checkout."""
    if one.text is None:
        yield "too large, or no text: not searched for what it calls"
        return
    text = _text(one)
    found = [*_ADDRESS.findall(text), *(match.group() for match in _OPEN.finditer(_ADDRESS.sub(" ", text)))]
    found += [f"{word}: runs what the project's own files say" for word in _WORD.findall(text) if word in _RUNNERS]
    yield from [words[:PATH_LIMIT] for words in dict.fromkeys(found)][:UNRESOLVED_LIMIT]


def _inherited(caller: Found, called: Found) -> str:
    """What loads a file that another includes by itself: configuration by configuration, texts by texts."""
    texts = caller.loader == "agent" and caller.path.lower().endswith(_TEXTS) and called.path.lower().endswith(_TEXTS)
    return caller.loader if texts or (caller.loader == "version-control" and not called.executable) else ""


def _targets(one: Found, look: Look) -> Iterator[tuple[Found, bool]]:
    """The files that the words of one file name, and whether they are loaded; a link's target with everything in it."""
    if one.kind == "link":
        for target in look(posixpath.join(posixpath.dirname(one.path), one.digest), True):
            yield target, True
        return
    text = _ADDRESS.sub(" ", _text(one))
    for word in _HOOKS.findall(text) if one.loader == "version-control" else ():
        for target in look(word.strip()[:PATH_LIMIT], True):
            yield target, True
    bases = dict.fromkeys((posixpath.dirname(one.path), posixpath.dirname(one.top), ""))
    words = _words(text)
    for word in list(words):
        for base in list(bases):
            if any(found.kind == "directory" for found in look(posixpath.join(base, word), False)):
                bases |= {posixpath.join(base, word): None} if len(bases) < BASES_LIMIT else {}
    for word, loads in words.items():
        for start in bases:
            place = posixpath.join(start, word)
            for target in (found for name in (_names(place) if loads else (place,)) for found in look(name, False)):
                if target.kind == "file" or word.startswith("./"):
                    yield target, loads or bool(one.loader)


def _words(text: str) -> dict[str, bool]:
    """The words of a text, and whether one stands on a line that loads something."""
    found: dict[str, bool] = {}
    for line in text.splitlines():
        loads = _LOADING.search(line) is not None
        whole = (text.replace("\\", "") for pattern in _BLANKS for text in pattern.findall(line))  # with blanks in it
        for word in (*_WORD.findall(line), *(text for text in whole if " " in text)):
            if len(word) <= PATH_LIMIT:
                found[word] = found.get(word, False) or loads
    return found


def _names(path: str) -> Iterator[str]:
    """A name with the endings that languages leave out."""
    folder, _, name = path.rpartition("/")
    dotted = posixpath.join(folder, name.replace(".", "/"))
    yield from (f"{start}{end}" for start in dict.fromkeys((path, dotted)) for end in _ENDINGS)
