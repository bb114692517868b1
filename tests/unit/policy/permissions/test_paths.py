"""Where a path leads, and what is critical, from a directory that is not the workspace."""

import pytest

from ringfence.policy.permissions.paths import Places, Unresolved, absolute, inside, is_critical, spellings

PLACES = Places(cwd="/w/proj/sub", workspace="/w/proj", home="/w/home", roots=("/w/proj", "/"))


class Linked:
    """A disk on which `/w/proj/sub/a` is a link."""

    def resolve(self, path: str) -> str:
        return "/elsewhere" if path == "/w/proj/sub/a" else path

    def repository_inside(self, directory: str) -> str:
        return ""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a", "/w/proj/sub/a"),
        ("", "/w/proj/sub"),
        ("../a", "/w/proj/a"),
        ("/a/./b/../c", "/a/c"),
        ("//a", "/a"),
        ("~", "/w/home"),
        ("~/a", "/w/home/a"),
        ("~a", "/w/proj/sub/~a"),
        ("$HOME", "/w/home"),
        ("$HOME_a", "/w/proj/sub/$HOME_a"),
        ("${HOME}/a", "/w/home/a"),
        ("$PWD", "/w/proj/sub"),
        ("$PWD/a", "/w/proj/sub/a"),
        ("$PWDa", "/w/proj/sub/$PWDa"),
        ("${PWD}/a", "/w/proj/sub/a"),
        ("/proc/self/root", "/"),
        ("/proc/self/root/a", "/a"),
        ("/proc/7/root/a", "/a"),
        ("/proc/thread-self/task/7/root/a", "/a"),
        ("/proc/self/roota", "/proc/self/roota"),
        ("/proc/self/cwd/a", "/w/proj/sub/a"),
        ("/proc/thread-self/task/7/cwd", "/w/proj/sub"),
        ("/proc/7/cwd/a", "/proc/7/cwd/a"),
        ("/proc/self/cwda", "/proc/self/cwda"),
    ],
)
def test_making_a_path_absolute(path: str, expected: str) -> None:
    assert absolute(path, PLACES) == expected


@pytest.mark.parametrize("path", ["a", "$PWD/a", "${PWD}/a", "/proc/self/cwd/a", "/proc/self/root/proc/self/cwd/a"])
def test_a_directory_that_was_changed_to_counts(path: str) -> None:
    assert absolute(path, PLACES, "/x") == "/x/a"


def test_a_link_is_known_by_both_names() -> None:
    assert spellings("a", PLACES, Linked()) == ("/w/proj/sub/a", "/elsewhere")
    assert spellings("b", PLACES, Linked()) == ("/w/proj/sub/b",)
    assert spellings("a", PLACES, Unresolved()) == ("/w/proj/sub/a",)


def test_a_root_holds_itself_and_what_is_below() -> None:
    assert [inside(path, ("/w/proj/",)) for path in ("/w/proj/a", "/w/proja", "/w")] == [True, False, False]
    assert inside("/w/proj", ("/w/proj",)) and inside("/anything", ("/",)) and not inside("/a", ())


@pytest.mark.parametrize("path", ["/", "/etc", "/w", "/w/home", "/w/proj", "/w/proj/sub"])
def test_what_is_critical(path: str) -> None:
    assert is_critical(path, PLACES)


@pytest.mark.parametrize("path", ["/h/people", "/h/people/me", "/v/c", "/v/c/d", "/w/proj"])
def test_what_holds_a_home_the_workspace_or_the_current_directory_is_critical(path: str) -> None:
    assert is_critical(path, Places(cwd="/v/c/d", workspace="/w/proj", home="/h/people/me", roots=()))


@pytest.mark.parametrize("path", ["/etc/x", "/w/hom", "/w/home/a", "/w/pro", "/w/proj/su", "/w/proj/sub/a", "/w/other"])
def test_what_is_not(path: str) -> None:
    assert not is_critical(path, PLACES)
