"""A run's changes for eyes: what `ringfence diff` shows on a terminal. Elsewhere it prints text that tools read."""

from collections.abc import Iterator, Sequence

from ringfence.workspace.change import FileType, Reviewed
from ringfence.workspace.text import Difference

from .terminal import paint, safe

_COUNTS = 9  # characters for `+123 -456`
Item = tuple[Difference, Reviewed]
_LINES = {"+": "good", "-": "bad", "@": "name", "\\": "dim"}
_LETTERS = {"A": "good", "M": "name", "T": "warn", "D": "bad", "!": "bad"}


def whole(items: Sequence[Item]) -> Iterator[str]:
    """Each change under a title of its own: what became of the path, how much, whether it is held back."""
    for number, (item, reviewed) in enumerate(items):
        if number:
            yield ""
        yield f"{letter(item)} {paint(safe(item.path), 'bold')}{spaced(count(item, reviewed))}{held(reviewed)}"
        yield from body(item)


def body(item: Difference) -> Iterator[str]:
    """The lines below a title: it says the names already."""
    in_hunk = False
    for line in item.lines[1:]:
        in_hunk = in_hunk or line.startswith("@@")
        if in_hunk:
            yield paint(line, _LINES[line[0]]) if line[:1] in _LINES else line
        elif not line.startswith(("--- ", "+++ ")):
            yield paint(f"  {line}", "dim")


def stat(items: Sequence[Item]) -> Iterator[str]:
    """One line per change, aligned, and the sum."""
    width = max(len(safe(item.path)) for item, _ in items)
    for item, reviewed in items:
        counted = count(item, reviewed)
        padding = " " * max(0, _COUNTS - len(plain(item) if counted else ""))
        told = f"{counted}{padding}{held(reviewed)}"
        yield f"{letter(item)} {safe(item.path).ljust(width)}  {told}".rstrip()
    added, removed = (sum(getattr(item, side) or 0 for item, _ in items) for side in ("added", "removed"))
    kept = sum(not reviewed.allowed for _, reviewed in items)
    paths = "1 path" if len(items) == 1 else f"{len(items)} paths"
    yield ""
    yield f"{paths}, {lines(added, removed)}" + (f", {paint(f'{kept} held back', 'warn')}" if kept else "")


def letter(item: Difference) -> str:
    """What became of the path, in git's letter."""
    return paint(item.status, _LETTERS.get(item.status, "bold"))


def count(item: Difference, reviewed: Reviewed) -> str:
    """How many lines came and went; nothing for what has none."""
    if item.added is None or item.removed is None:
        return paint("binary", "dim")
    if reviewed.change.type is not FileType.FILE or not (item.added or item.removed):
        return ""
    return lines(item.added, item.removed)


def plain(item: Difference) -> str:
    """The count without colours, as long as it shows."""
    return "binary" if item.added is None else f"+{item.added} -{item.removed}"


def lines(added: int, removed: int) -> str:
    """Counts in the colours of what they count."""
    return f"{paint(f'+{added}', 'good')} {paint(f'-{removed}', 'bad')}"


def held(reviewed: Reviewed) -> str:
    """That the change is held back, and why in a word."""
    return "" if reviewed.allowed else f"  {paint(f'held: {reviewed.code}', 'warn')}"


def spaced(text: str) -> str:
    """`text` after what stands before it."""
    return f"  {text}" if text else ""
