"""Changes on a terminal: a title for each, its text, and what is held back; sums that add up."""

from ringfence.cli import change_text
from ringfence.workspace.change import Change, ChangeKind, FileType, Reviewed
from ringfence.workspace.text import Difference

PATCH = ("diff a.py", "old mode 644, new mode 755", "--- a/a.py", "+++ b/a.py", "@@ -1 +1,2 @@", "-x", "+y", "+--- z")


def item(
    path: str,
    *,
    code: str = "",
    kind: FileType = FileType.FILE,
    status: str = "M",
    counts: tuple[int | None, int | None] = (2, 1),
) -> change_text.Item:
    change = Change(path=path, kind=ChangeKind.MODIFY, type=kind, mode=0o644)
    found = Difference(path=path, status=status, added=counts[0], removed=counts[1], lines=PATCH)
    return found, Reviewed(change=change, code=code)


def test_each_change_has_a_title_and_only_its_hunks_below() -> None:
    assert list(change_text.whole([item("a.py"), item("b.py", code="auto-load")])) == [
        "M a.py  +2 -1",
        "  old mode 644, new mode 755",
        "@@ -1 +1,2 @@",
        "-x",
        "+y",
        "+--- z",
        "",
        "M b.py  +2 -1  held: auto-load",
        "  old mode 644, new mode 755",
        "@@ -1 +1,2 @@",
        "-x",
        "+y",
        "+--- z",
    ]


def test_counts_are_aligned_and_added_up() -> None:
    items = [
        item("a-long-name.py"),
        item("b", code="link-outside", kind=FileType.SYMLINK, counts=(0, 0)),
        item("c", counts=(None, None)),
        item("d", kind=FileType.DIRECTORY, counts=(0, 0), status="A"),
    ]
    assert list(change_text.stat(items)) == [
        "M a-long-name.py  +2 -1",
        "M b                          held: link-outside",
        "M c               binary",
        "A d",
        "",
        "4 paths, +2 -1, 1 held back",
    ]


def test_names_cannot_steer_the_terminal() -> None:
    odd = item("a\x1b[2J")
    assert all(line.isprintable() for line in [*change_text.whole([odd]), *change_text.stat([odd])])
