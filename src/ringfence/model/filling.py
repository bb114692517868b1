"""Placeholders into the text of a secret file; built-in types only, because the hot path loads it."""

TYPE_CHECKING = False  # for type checkers only: `typing` costs 10 ms
if TYPE_CHECKING:
    from collections.abc import Mapping


def filled(text: str, placeholders: "Mapping[str, str]") -> str:
    """Return `text` with each `{NAME}` replaced, doubled braces as one.

    Where a secret has no value, nothing of the file is left: half a login is worse than none. Preconditions: policy has
    checked the text, so that `str.format` finds nothing but names of secrets in it.
    """
    try:
        return text.format_map(placeholders)
    except KeyError:
        return "{}\n" if text.lstrip().startswith("{{") else ""
