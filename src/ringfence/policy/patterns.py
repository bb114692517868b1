r"""What a path rule matches: gitignore's patterns, on absolute paths, in time linear in pattern times path.

The rules, after gitignore(5):
- `*` any run of characters but `/`, `?` any one but `/`, `[a-z]` and `[!a-z]` one of a set; `\` takes the next
  character as it is. A leading dot is nothing special.
- `**` as a whole segment crosses any number of directories; at the end it needs at least one.
- A pattern without a slash before its end matches at any depth below the workspace; any other relative
  pattern starts at the workspace; an absolute pattern starts at `/`.
- Whatever is below something matched is matched as well. A slash at the end is accepted and says nothing more.

Theory of operation: a pattern becomes a list of segments, the workspace's own names put before a relative
one. A path's segments are run against it as a set of states, one per place in the pattern, so `**` needs no
backtracking; within a segment the last `*` alone is retried. Nothing here is exponential.

SECURITY: with `ignore_case` a rule also matches names that a case-insensitive or normalising file system
(vfat, ext4 casefold, APFS) would take for the same: other letter case, other Unicode composition, invisible
format characters. That is for denials, where matching more is safe; allowances match exactly.
"""

import unicodedata
from functools import lru_cache

import msgspec

from .effective import PathRule

_Set = tuple[bool, tuple[tuple[str, str], ...]]  # negated, ranges
_Token = str | _Set | None  # a character, a set (`?` is the negated empty set), or `*`
_Tokens = tuple[_Token, ...]

_ANY: _Set = (True, ())


class Segment(msgspec.Struct, frozen=True):
    """One name of a pattern: `exact` tokens, and `folded` ones to compare with a folded name."""

    exact: _Tokens
    folded: _Tokens

    @property
    def literal(self) -> str | None:
        """Return the one name this can match, or None where there is a wildcard."""
        names = [token for token in self.exact if isinstance(token, str)]
        return "".join(names) if len(names) == len(self.exact) else None


class Pattern(msgspec.Struct, frozen=True, kw_only=True):
    """A compiled rule; None among `segments` stands for `**`."""

    segments: tuple[Segment | None, ...]
    ignore_case: bool

    def matches(self, path: str) -> bool:
        """Tell whether the absolute, normalised `path`, or a directory it is in, is matched."""
        names = [name for name in path.split("/") if name]
        states = self._closure({0})
        for name in names:
            if len(self.segments) in states:
                return True
            states = self._step(states, name)
        return len(self.segments) in states

    @property
    def literal_path(self) -> str | None:
        """Return the one path this matches (with all below), or None where there is a wildcard."""
        names = self._literal_names()
        return "/" + "/".join(names) if len(names) == len(self.segments) else None

    @property
    def prefix(self) -> str:
        """Return the deepest directory, or the one path, that everything matched is at or below."""
        return "/" + "/".join(self._literal_names())

    def _literal_names(self) -> list[str]:
        names = []
        for segment in self.segments:
            if segment is None or segment.literal is None:
                break
            names.append(segment.literal)
        return names

    def _step(self, states: set[int], name: str) -> set[int]:
        following = set()
        folded = fold(name)
        for state in states:
            segment = self.segments[state]
            if segment is None:
                following |= {state, state + 1}
            elif _matches(segment.exact, name) or (
                self.ignore_case and _matches(segment.folded, folded, fold_sets=True)
            ):
                following.add(state + 1)
        return self._closure(following)

    def _closure(self, states: set[int]) -> set[int]:
        """Add the states reachable without a name: `**` may stand for none, except at the end."""
        for state in range(len(self.segments) - 1):
            if state in states and self.segments[state] is None:
                states.add(state + 1)
        return states


@lru_cache(maxsize=4096)
def compile_rule(rule: PathRule, *, workspace: str, ignore_case: bool = True) -> Pattern:
    """Compile `rule` for the absolute path `workspace`; `ignore_case` must be False for allowances.

    Raises ValueError, with what is wrong, for a pattern that is not well formed.
    """
    names = [name for name in rule.pattern.split("/") if name]
    body = tuple(_segment(name, literal=rule.literal) for name in names)
    if rule.pattern.startswith("/"):
        return Pattern(segments=body, ignore_case=ignore_case)
    if not names:
        raise ValueError("it is empty")
    start = tuple(_segment(name, literal=True) for name in workspace.split("/") if name)
    floating: tuple[None, ...] = (None,) if len(names) == 1 else ()
    return Pattern(segments=start + floating + body, ignore_case=ignore_case)


def fold(name: str) -> str:
    """Bring `name` to the form in which names that some file system takes for equal are equal."""
    folded = unicodedata.normalize("NFC", name).casefold()
    if folded.isascii():
        return folded
    return unicodedata.normalize("NFC", "".join(c for c in folded if unicodedata.category(c) != "Cf"))


def escape(path: str) -> str:
    """Escape the wildcards of a literal path, so that it can stand in a pattern."""
    return "".join(f"\\{character}" if character in "*?[\\" else character for character in path)


def _segment(text: str, *, literal: bool) -> Segment | None:
    if text == "**" and not literal:
        return None
    exact = tuple(text) if literal else _tokens(text)
    return Segment(exact=exact, folded=_folded(exact))


def _folded(tokens: _Tokens) -> _Tokens:
    """Fold each run of characters as a whole, since composition crosses characters; sets stay as they are."""
    result: list[_Token] = []
    run = ""
    for token in tokens:
        if isinstance(token, str):
            run += token
            continue
        result += [*fold(run), token]
        run = ""
    return (*result, *fold(run))


def _tokens(text: str) -> _Tokens:
    """Split a segment into tokens; raise ValueError where gitignore would match nothing."""
    tokens: list[_Token] = []
    at = 0
    while at < len(text):
        item: _Token = text[at]
        at += 1
        if item == "\\":
            if at == len(text):
                raise ValueError("it ends in `\\`, which escapes nothing")
            item = text[at]
            at += 1
        elif item == "*":
            item = None
        elif item == "?":
            item = _ANY
        elif item == "[":
            item, at = _set(text, at)
        tokens.append(item)
    return tuple(tokens)


def _set(text: str, at: int) -> tuple[_Set, int]:
    """Read a set whose `[` stands before `at`; return it with the place after its `]`."""
    negated = text[at : at + 1] in ("!", "^")
    at += negated
    ranges: list[tuple[str, str]] = []
    while text[at : at + 1] != "]" or not ranges:
        first, at = _member(text, at)
        last = first
        if text[at : at + 1] == "-" and text[at + 1 : at + 2] != "]":
            last, at = _member(text, at + 1)
        if last < first:
            raise ValueError(f"the range `{first}-{last}` is empty")
        ranges.append((first, last))
    return (negated, tuple(ranges)), at + 1


def _member(text: str, at: int) -> tuple[str, int]:
    """Read one character of a set."""
    if text.startswith("[:", at):
        raise ValueError("classes such as `[:alpha:]` are not known; write a range such as `[a-z]`")
    at += text.startswith("\\", at)
    if at >= len(text):
        raise ValueError("a `[` is not closed; write `\\[` for the character itself")
    return text[at], at + 1


def _matches(tokens: _Tokens, name: str, *, fold_sets: bool = False) -> bool:
    """Match the whole of `name`; on a mismatch the last `*` takes one character more."""
    token = at = 0
    retry_token, retry_at = -1, 0
    while at < len(name):
        if token < len(tokens) and tokens[token] is None:
            retry_token, retry_at = token, at
            token += 1
        elif token < len(tokens) and _accepts(tokens[token], name[at], fold_sets=fold_sets):
            token += 1
            at += 1
        elif retry_token >= 0:
            retry_at += 1
            token, at = retry_token + 1, retry_at
        else:
            return False
    return all(rest is None for rest in tokens[token:])


def _accepts(token: _Token, character: str, *, fold_sets: bool) -> bool:
    if not isinstance(token, tuple):
        return token == character
    negated, ranges = token
    forms = {character, character.upper(), character.lower()} if fold_sets else {character}
    # A name in another letter case is in the set as well, and so is not in its negation.
    return negated != any(first <= form <= last for form in forms for first, last in ranges)
