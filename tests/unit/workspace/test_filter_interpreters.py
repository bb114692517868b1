"""The filter lets one kind of link out: the interpreter of a virtual environment."""

import pytest

from ringfence.workspace.change import Change, ChangeKind, FileType
from tests.unit.workspace.test_filter import code, codes, link, new

FILE, DIRECTORY, SYMLINK = FileType.FILE, FileType.DIRECTORY, FileType.SYMLINK
MODIFY, REPLACE = ChangeKind.MODIFY, ChangeKind.REPLACE
REAL = "/usr/bin/python3"


def environment(*links: Change, config: Change | None = None, host: dict[str, FileType] | None = None) -> list[str]:
    """The codes of links, where `REAL` is an interpreter that runs can read but not change."""
    changes = [config or new("env/pyvenv.cfg"), *links]
    found = codes(*changes, existing=(host or {}).get, interpreter=REAL.__eq__)
    return [found[change.path] for change in links]


@pytest.mark.parametrize("name", ["python", "python3", "python3.11", "python3.13t", "pypy3.10"])
def test_the_interpreter_of_an_environment_passes(name: str) -> None:
    assert environment(link(f"env/bin/{name}", REAL)) == [""]
    assert code(link(f"bin/{name}", REAL), interpreter=REAL.__eq__, existing={"pyvenv.cfg": FILE}.get) == ""
    assert environment(link(f"env/bin/{name}", REAL, kind=MODIFY, old_type=SYMLINK)) == [""]


def test_so_do_its_other_names_where_the_host_has_links_of_them_already() -> None:
    host = {"env/bin/python3": SYMLINK, "env/bin/python": SYMLINK}
    assert environment(link("env/bin/python3", REAL), link("env/bin/python", "python3"), host=host) == ["", ""]
    both = link("env/bin/python3", "/home/python3"), link("env/bin/python", "python3")
    assert environment(*both, host=host) == ["link-outside", "link-indirect"]


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("env/bin/python3", "/usr/bin/python3 "),
        ("env/bin/python3", "../../../usr/bin/python3"),
        ("env/bin/python3", "/home/user/python3"),
        ("env/bin/pip", REAL),
        ("env/bin/python3-config", REAL),
        ("env/bin/python\n3", REAL),
        ("env/bin/deep/python3", REAL),
        ("env/lib/python3", REAL),
        ("env/Bin/python3", REAL),
        ("other/bin/python3", REAL),
    ],
)
def test_no_other_link_is_let_through_for_an_environment(path: str, target: str) -> None:
    assert environment(link(path, target)) == ["link-outside"]


def test_an_environment_has_its_configuration_as_a_file() -> None:
    for odd in (new("env/pyvenv.cfg", DIRECTORY), link("env/pyvenv.cfg", "x")):
        assert environment(link("env/bin/python3", REAL), config=odd, host={"env/pyvenv.cfg": FILE}) == ["link-outside"]


def test_a_name_in_a_directory_beside_says_nothing() -> None:
    host = {"env/bin/sub": SYMLINK}
    links = link("env/bin/python", "sub/python"), link("env/bin/sub/python", REAL)
    assert environment(*links, host=host)[0] == "link-indirect"


def test_what_is_protected_and_what_replaces_a_directory_stays_held() -> None:
    change = link("env/bin/python3", REAL)
    rules: dict[str, object] = {"existing": {"env/pyvenv.cfg": FILE}.get, "interpreter": REAL.__eq__}
    assert code(change, protected=change.path.__eq__, **rules) == "path-protected"
    swapped = link("env/bin/python3", REAL, kind=REPLACE, old_type=DIRECTORY)
    assert code(swapped, **rules) == "link-replaces-directory"
    assert code(change, existing={"env/pyvenv.cfg": FILE}.get) == "link-outside"
