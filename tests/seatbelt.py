"""An independent reader of Seatbelt profiles: S-expressions, and which rule decides about a path.

It knows of the language what `ringfence.sandbox.seatbelt` says of it, and was written from that alone.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

Expression = str | tuple["Expression", ...]


class Text(str):
    """A string literal, as opposed to a symbol."""

    __slots__ = ()


class Rule(NamedTuple):
    """One rule of a profile."""

    verdict: str
    operations: tuple[str, ...]
    filters: tuple[Expression, ...]


def read(profile: str) -> list[Expression]:
    """Every expression of `profile`; ValueError where it is not well formed."""
    stack: list[list[Expression]] = [[]]
    for token in tokens(profile):
        if token == "(" and not isinstance(token, Text):
            stack.append([])
        elif token == ")" and not isinstance(token, Text):
            done = tuple(stack.pop())
            if not stack:
                raise ValueError("a `)` too many")
            stack[-1].append(done)
        else:
            stack[-1].append(token)
    if len(stack) != 1:
        raise ValueError("a `)` too few")
    return stack[0]


def tokens(profile: str) -> Iterator[str]:
    """Parentheses, symbols and string literals; comments are left out."""
    at = 0
    while at < len(profile):
        character = profile[at]
        at += 1
        if character == ";":
            end = profile.find("\n", at)
            at = len(profile) if end < 0 else end
        elif character in "()":
            yield character
        elif character == '"':
            found = ""
            while profile[at] != '"':
                at += profile[at] == "\\"
                found += profile[at]
                at += 1
            at += 1
            yield Text(found)
        elif not character.isspace():
            end = next((n for n in range(at, len(profile)) if profile[n] in '()"; \n'), len(profile))
            yield profile[at - 1 : end]
            at = end


def rules(profile: str) -> list[Rule]:
    """The rules of `profile`, in order."""
    version, *others = read(profile)
    if version != ("version", "1"):
        raise ValueError("no version")
    return [_rule(one) for one in others]


def _rule(expression: Expression) -> Rule:
    if not isinstance(expression, tuple) or expression[0] not in ("allow", "deny"):
        raise ValueError(f"`{expression}` is no rule")
    words = expression[1:]
    operations = tuple(str(word) for word in words if isinstance(word, str))
    return Rule(str(expression[0]), operations, tuple(word for word in words if isinstance(word, tuple)))


def allowed(found: list[Rule], operation: str, path: str, parameters: Mapping[str, str]) -> bool:
    """Whether the last rule that speaks of `operation` on `path` allows it."""
    said = False
    for rule in found:
        if any(_covers(name, operation) for name in rule.operations) and _holds(rule.filters, path, parameters):
            said = rule.verdict == "allow"
    return said


def _covers(name: str, operation: str) -> bool:
    return name in ("default", operation) or (name.endswith("*") and operation.startswith(name[:-1]))


def _holds(filters: tuple[Expression, ...], path: str, parameters: Mapping[str, str]) -> bool:
    places = [(str(one[0]), one[1]) for one in filters if one[0] in ("literal", "subpath")]
    if not filters or filters[0][0] == "with":
        return True
    for kind, expression in places:
        place = _string(expression, parameters).rstrip("/")
        if path == (place or "/") or (kind == "subpath" and path.startswith(f"{place}/")):
            return True
    return False


def _string(expression: Expression, parameters: Mapping[str, str]) -> str:
    if isinstance(expression, str):
        return expression
    if expression[0] == "param":
        return parameters[str(expression[1])]
    if expression[0] == "string-append":
        return "".join(_string(part, parameters) for part in expression[1:])
    raise ValueError(f"`{expression}` is no string")
