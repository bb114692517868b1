"""Changes as text, for a terminal that must not be steered."""

import os
from pathlib import Path

from ringfence.workspace import overlay, text
from ringfence.workspace.text import Difference
from tests.trees import Place, whiteout, write


def found(place: Place) -> dict[str, Difference]:
    changes = overlay.changes(place.run.upper, place.run.workspace)
    return {item.path: item for item in text.differences(changes, upper=place.run.upper, lower=place.run.workspace)}


def test_the_kinds_of_change(tmp_path: Path) -> None:
    place = Place(
        tmp_path,
        {"changed": "one\ntwo\nthree\n", "gone": "bye\n", "mode": "m\n", "link": "-> a", "type": "t\n", "d/x": "x\n"},
    )
    write(place.upper, {"changed": "one\n2\nthree\n", "made": "hello\n", "mode": "m\n", "link": "-> b", "n": None})
    os.chmod(place.upper / "mode", 0o755)
    (place.upper / "type").mkdir()
    whiteout(place.upper, "gone")
    whiteout(place.upper, "d")
    items = found(place)
    assert {path: (item.status, item.added, item.removed) for path, item in items.items()} == {
        "changed": ("M", 1, 1),
        "d": ("D", 0, 0),
        "d/x": ("D", 0, 1),
        "gone": ("D", 0, 1),
        "link": ("M", 0, 0),
        "made": ("A", 1, 0),
        "mode": ("M", 0, 0),
        "n": ("A", 0, 0),
        "type": ("T", 0, 1),
    }
    assert items["changed"].lines == (
        "diff changed",
        "--- a/changed",
        "+++ b/changed",
        "@@ -1,3 +1,3 @@",
        " one",
        "-two",
        "+2",
        " three",
    )
    assert items["made"].lines[:3] == ("diff made", "new file mode 644", "--- /dev/null")
    assert items["gone"].lines[3] == "+++ /dev/null"
    assert items["mode"].lines == ("diff mode", "old mode 644, new mode 755")
    assert items["link"].lines == ("diff link", "link to b")
    assert items["type"].lines[1] == "file becomes directory"
    assert text.stat_lines([items["changed"], items["gone"]]) == ["M changed | +1 -1", "D gone | +0 -1"]


def test_no_character_steers_the_terminal(tmp_path: Path) -> None:
    place = Place(tmp_path, {})
    write(place.upper, {"name\x1b[2J\nx": "text\x1b]0;title\x07\ttab\rreturn\u202e\n", "l": "-> \x1b[31m"})
    with open(os.fsencode(place.upper) + b"/\xff", "wb") as file:
        file.write(b"\xfe not UTF-8\n")
    items = found(place)
    lines = [line for item in items.values() for line in item.lines] + text.stat_lines(items.values())
    assert all(character.isprintable() or character == "\t" for line in lines for character in line)
    assert "+text\\x1b]0;title\\x07\ttab\\rreturn\\u202e" in lines
    assert "+\\xfe not UTF-8" in lines


def test_binary_large_and_unreadable(tmp_path: Path) -> None:
    place = Place(tmp_path, {"binary": b"\0old", "large": "x"})
    write(place.upper, {"binary": b"\0new", "large": "y" * 300_000, "lines": "z\n" * 5000, "closed/x": "x"})
    with open(place.upper / "bomb", "wb") as file:
        file.truncate(1 << 42)
    items = found(place)
    for path in ("binary", "large", "lines", "bomb"):
        assert items[path].added is None
        assert items[path].removed is None
    assert items["binary"].lines[-1] == "Binary or large file binary differs, now 4 bytes"
    assert text.stat_lines([items["bomb"]]) == ["A bomb | binary"]
    changes = overlay.changes(place.run.upper, place.run.workspace)
    os.unlink(place.upper / "closed/x")
    last = [*text.differences(changes, upper=place.run.upper, lower=place.run.workspace)]
    assert next(item for item in last if item.path == "closed/x").added is None
    os.setxattr(place.upper / "closed", "user.overlay.redirect", b"x")
    assert found(place)["closed"].lines[1].startswith("cannot be read: ")


def test_files_without_a_last_newline(tmp_path: Path) -> None:
    place = Place(tmp_path, {"f": "a\nb"})
    write(place.upper, {"f": "a\nc"})
    assert found(place)["f"].lines[3:] == (
        "@@ -1,2 +1,2 @@",
        " a",
        "-b",
        "\\ No newline at end of file",
        "+c",
        "\\ No newline at end of file",
    )


def test_lines_that_look_like_a_header_are_counted(tmp_path: Path) -> None:
    place = Place(tmp_path, {"f": "-- a/f\n"})
    write(place.upper, {"f": "++ b/f\n"})
    item = found(place)["f"]
    assert (item.added, item.removed) == (1, 1)
