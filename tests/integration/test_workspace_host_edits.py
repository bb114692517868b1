"""The host edits the lower layer under a mounted overlay, which the kernel calls undefined: what really happens.

Two things are pinned: what the contained side sees on the kernels we run on (so that a change is noticed and
docs/workspace.md can be corrected), and, independent of any kernel, that nothing of the host's is lost at the end.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ringfence.workspace.apply import apply
from tests.trees import Place, outcomes, write

pytestmark = pytest.mark.require("bubblewrap", "overlay")

FILES: dict[str, str | bytes | None] = {
    "plain": "old\n",
    "looked-at": "old\n",
    "opened": "old\n",
    "copied": "old\n",
    "d/x": "old\n",
    "d/y": "old\n",
    "e/x": "old\n",
    "f/x": "old\n",
}
Edit = Callable[[Path], object]


class Shell:
    """A shell inside an overlay over the workspace, told line by line what to do."""

    def __init__(self, place: Place) -> None:
        argv = place.contained_argv("sh")
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.place = place

    def __call__(self, line: str) -> str:
        """Give what the line printed on both streams."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{{ {line}\n}} 2>&1; echo ..end\n")
        found = []
        while (said := self.process.stdout.readline()) not in ("..end\n", ""):
            found.append(said)
        return "".join(found)

    def end(self) -> None:
        self.process.communicate()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, FILES)


@pytest.fixture
def shell(place: Place) -> Iterator[Shell]:
    """Give a shell that has looked at some of the files, so that the kernel remembers them."""
    found = Shell(place)
    found("cat looked-at >/dev/null; exec 5<opened; echo mine >> copied; ls d e f >/dev/null; cat missing")
    yield found
    found.end()


def replace(name: str) -> Edit:
    def edit(root: Path) -> None:
        write(root, {"tmp": "new\n"})
        os.rename(root / "tmp", root / name)

    return edit


def rewrite(name: str) -> Edit:
    return lambda root: (root / name).write_text("new\n")


def remove(name: str) -> Edit:
    return lambda root: shutil.rmtree(root / name) if (root / name).is_dir() else (root / name).unlink()


def move(name: str, other: str) -> Edit:
    return lambda root: os.rename(root / name, root / other)


@pytest.mark.parametrize(
    ("edit", "command", "seen"),
    [
        (rewrite("plain"), "cat plain", "new\n"),
        (rewrite("looked-at"), "cat looked-at", "new\n"),
        (rewrite("opened"), "cat <&5", "new\n"),
        (rewrite("copied"), "cat copied", "old\nmine\n"),
        (replace("plain"), "cat plain", "new\n"),
        (replace("looked-at"), "cat looked-at", "old\n"),
        (replace("opened"), "cat <&5", "old\n"),
        (replace("copied"), "cat copied", "old\nmine\n"),
        (remove("plain"), "cat plain", "cat: plain: No such file or directory\n"),
        (remove("copied"), "cat copied", "old\nmine\n"),
        (rewrite("created"), "cat created", "new\n"),
        (rewrite("missing"), "cat missing", "cat: missing: No such file or directory\n"),
        (rewrite("missing"), "ls | grep missing", "missing\n"),
        (rewrite("d/new"), "ls d", "new\nx\ny\n"),
        (move("f", "moved"), "ls -d f moved; cat moved/x f/x", "f\nmoved\nold\ncat: f/x: No such file or directory\n"),
        (remove("e"), "ls e; ls -d e", "e\n"),
        (remove("e"), "(rmdir e || mkdir e) 2>/dev/null || (rm -rf e; ls -d e)", "e\n"),
        (remove("looked-at"), "rm looked-at && mkdir looked-at && ls -d looked-at", "looked-at\n"),
    ],
)
def test_what_the_contained_side_sees(shell: Shell, edit: Edit, command: str, seen: str) -> None:
    edit(shell.place.workspace)
    assert shell(command) == seen


@pytest.mark.parametrize("name", ["plain", "looked-at", "opened", "copied", "d/x", "missing", "d/new"])
@pytest.mark.parametrize("how", [rewrite, replace])
@pytest.mark.parametrize(
    "command", ["echo contained >> {}", "echo contained > {}", "rm -f {}", "rm -f {}; echo contained > {}"]
)
def test_a_file_that_the_host_edited_keeps_the_host_s_content(
    shell: Shell, name: str, how: Callable[[str], Edit], command: str
) -> None:
    workspace = shell.place.workspace
    how(name)(workspace)
    shell(command.replace("{}", name))
    shell.end()
    apply(shell.place.run, shell.place.unfiltered())
    assert (workspace / name).read_text() == "new\n"


@pytest.mark.parametrize(
    "command", ["echo c >> d/x", "rm -r d", "echo c > d/new", "rm -r d; mkdir d; echo c > d/new", "mv d/x z"]
)
def test_a_directory_that_the_host_renamed_is_whole_under_its_new_name(shell: Shell, command: str) -> None:
    workspace = shell.place.workspace
    shell("cat d/x >/dev/null; cd d")
    os.rename(workspace / "d", workspace / "moved")
    shell(f"cd {workspace}; {command}")
    shell.end()
    found = outcomes(apply(shell.place.run, shell.place.unfiltered()))
    assert sorted(os.listdir(workspace / "moved")) == ["x", "y"]
    assert (workspace / "moved/x").read_text() == "old\n"
    assert "failed" not in found.values()


@pytest.mark.parametrize(
    "command", ["echo c > f/x", "echo c > f/y", "rm -rf f", "ls f; mkdir -p f; echo c > f/z", "echo c > f"]
)
def test_a_directory_that_became_a_file_on_the_host_stays_one(shell: Shell, command: str) -> None:
    workspace = shell.place.workspace
    shutil.rmtree(workspace / "f")
    (workspace / "f").write_text("human\n")
    shell(command)
    shell.end()
    apply(shell.place.run, shell.place.unfiltered())
    assert (workspace / "f").read_text() == "human\n"


def test_a_directory_removed_on_the_host_under_the_feet_of_the_contained_side(shell: Shell) -> None:
    workspace = shell.place.workspace
    shell("cd e")
    shutil.rmtree(workspace / "e")
    shell("echo lost > x; echo new > new; cd ..; echo c > plain")
    shell.end()
    apply(shell.place.run, shell.place.unfiltered())
    assert (workspace / "plain").read_text() == "c\n"
    assert not (workspace / "e/x").exists() or (workspace / "e/x").read_text() == "lost\n"


def test_edits_all_at_once_and_for_long_break_nothing(shell: Shell) -> None:
    workspace = shell.place.workspace
    for number in range(200):
        shell(f"echo {number} > d/inside{number % 7}; cat d/* >/dev/null; rm -f d/inside{(number + 3) % 7}; ls d")
        write(workspace, {f"d/host{number % 5}": str(number)})
        if number % 3 == 0:
            (workspace / f"d/host{(number + 2) % 5}").unlink(missing_ok=True)
        replace("d/x")(workspace)
    hosts = {name: (workspace / "d" / name).read_text() for name in os.listdir(workspace / "d")}
    assert shell("echo still here") == "still here\n"
    shell.end()
    apply(shell.place.run, shell.place.unfiltered())
    assert {name: (workspace / "d" / name).read_text() for name in hosts} == hosts
