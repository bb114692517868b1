"""What the corpus does not measure: sockets in an open view, our own files, masks, grants that lead elsewhere."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringfence.audit.read import read
from ringfence.model.paths import HostPath
from ringfence.workspace.removal import remove_tree
from tests.sandbox_runtime import Place, settings

pytestmark = [pytest.mark.require("bubblewrap", "userns", "overlay")]

CONNECT = "python3 -c \"import socket; s = socket.socket(socket.AF_UNIX); s.connect('../sock'); print(s.recv(9))\""
PAIR = 'python3 -c "import socket; socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)"'


@pytest.fixture
def place(open_path: Path) -> Place:
    """Give a place whose path is short enough for a unix socket."""
    return Place(open_path)


@pytest.fixture
def listener(place: Place) -> Iterator[socket.socket]:
    """Give a unix socket of the host beside the working directory, open to everybody."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place.root / "sock"))
        (place.root / "sock").chmod(0o777)
        server.listen()
        yield server


def test_unix_sockets_of_the_host_are_out_of_reach(place: Place, listener: socket.socket) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(place.root / "sock"))  # unconfined it is within reach
    done = place.srt(settings(allowWrite=["."]), CONNECT)
    assert done.returncode == 1
    assert "PermissionError" in done.stderr


def test_they_are_within_reach_where_settings_allow_all(place: Place, listener: socket.socket) -> None:
    opened = settings(allowWrite=["."]) | {
        "network": {"allowedDomains": [], "deniedDomains": [], "allowAllUnixSockets": True}
    }
    done = place.srt(opened, CONNECT.replace("print(s.recv(9))", "print('connected')"))
    assert done.stdout == "connected\n", done.stderr


def test_a_datagram_pair_is_no_way_around(place: Place) -> None:
    assert place.shell(PAIR).returncode == 0
    assert "PermissionError" in place.srt(settings(), PAIR).stderr


def test_nothing_is_writable_where_nothing_is_granted(place: Place) -> None:
    done = place.srt(settings(), "echo x > f; echo x > $H/f; echo y > $TMPDIR/f && cat $TMPDIR/f")
    assert done.stdout == "y\n"
    assert not (place.work / "f").exists() and not (place.home / "f").exists()


def test_what_was_written_is_there_afterwards(place: Place) -> None:
    (place.work / "old").write_text("1")
    (place.work / "gone").write_text("1")
    done = place.srt(settings(allowWrite=["."]), "echo 2 > old; rm gone; mkdir -p a/b; echo 3 > a/b/c")
    assert done.returncode == 0, done.stderr
    assert (place.work / "old").read_text() == "2\n"
    assert not (place.work / "gone").exists()
    assert (place.work / "a/b/c").read_text() == "3\n"


def test_a_grant_inside_a_denial_is_written_through(place: Place) -> None:
    (place.home / "rw").mkdir()
    found = settings(allowWrite=["~/rw"], denyRead=["~"], allowRead=["~/note.txt"])
    done = place.srt(found, "cat $H/note.txt; ls -A $H/.ssh $H/.aws; ls -A $H | sort; echo 1 > $H/rw/f")
    assert done.stdout == "NOTE\nnote.txt\nrw\n"
    assert (place.home / "rw/f").read_text() == "1\n"


def test_our_own_files_are_neither_read_nor_written(place: Place) -> None:
    state = place.root / "state/ringfence"
    (place.home / ".config/ringfence").mkdir(parents=True)
    found = settings(allowWrite=[".", "~"], allowRead=[str(state)])
    command = f"find {state} -type f | wc -l; echo x > $H/.config/ringfence/policy.toml; echo x > ../settings.json"
    done = place.srt(found, command)
    assert done.stdout == "0\n", done.stderr
    assert done.returncode == 1
    assert not (place.home / ".config/ringfence/policy.toml").exists()


def test_layers_lie_elsewhere_where_the_state_directory_is_writable(place: Place) -> None:
    del place.environment["XDG_STATE_HOME"]
    elsewhere = Path(f"/var/tmp/ringfence-{os.getuid()}/ringfence/runs")  # which others may be using as well
    state = place.home / ".local/state/ringfence"
    hidden = f"ls -A $H/.local/state/ringfence {elsewhere.parents[1]} | grep -vc :"
    done = place.srt(settings(allowWrite=["~"]), f"echo 1 > $H/new; echo EVIL > $H/.bashrc; {hidden}", options=["-v"])
    try:
        assert done.stdout == "1\n", done.stderr  # the empty line between two empty listings
        assert f"XDG_STATE_HOME={elsewhere.parents[1]} ringfence runs" in done.stderr
        assert (place.home / "new").read_text() == "1\n"
        assert not (place.home / ".bashrc").exists()
        assert list(state.iterdir()) == [state / "audit"]
    finally:
        for record in read(str(state / "audit"), kind="launch"):
            remove_tree(HostPath(str(elsewhere / record.run)))


def test_a_masked_file_shows_stand_ins(place: Place) -> None:
    (place.home / "token").write_text("SECRET-ONE\n")
    (place.home / "conf").write_text("user=u\ntoken=SECRET-TWO\n")
    (place.home / "other").write_text("nothing to find: SECRET-THREE\n")
    files: list[dict[str, str]] = [
        {"path": "~/token", "mode": "mask"},
        {"path": "~/conf", "mode": "mask", "extract": r"token=(\S+)"},
        {"path": "~/other", "mode": "mask", "extract": r"token=(\S+)"},
    ]
    found = settings(allowWrite=["."], allowRead=["~/other"])
    found["credentials"] = {"files": files, "allowPlaintextInject": True}
    done = place.srt(found, "cat $H/token; cat $H/conf; cat $H/other")
    assert done.stdout.startswith("fake_value_")
    assert "user=u\ntoken=fake_value_" in done.stdout
    assert "SECRET" not in done.stdout
    assert done.returncode == 1


def test_a_link_in_the_workspace_grants_nothing(place: Place) -> None:
    (place.work / "out").symlink_to(place.home)
    found = settings(allowWrite=["./out"], denyRead=["~/.ssh"], allowRead=["./out/.ssh"])
    done = place.srt(found, "cat out/.ssh/id_rsa; echo x > out/f", options=["-v"])
    assert "CANARY" not in done.stdout
    assert not (place.home / "f").exists()
    assert done.stderr.count("is not granted: a link leads elsewhere") == 2


def test_a_file_with_another_name_is_not_granted(place: Place) -> None:
    os.link(place.home / "note.txt", place.work / "note")
    done = place.srt(settings(allowWrite=["./note"]), "echo x > note")
    assert done.returncode == 1
    assert (place.home / "note.txt").read_text() == "NOTE\n"


def test_policy_of_our_own_cannot_be_opened(place: Place) -> None:
    (place.home / ".config/ringfence").mkdir(parents=True)
    (place.home / ".config/ringfence/policy.toml").write_text('version = 1\n[filesystem]\ndeny-read = ["~/.ssh"]\n')
    done = place.srt(settings(allowWrite=["~/.ssh"], allowRead=["~/.ssh", "~/.ssh/id_rsa"]), "cat $H/.ssh/id_rsa")
    assert done.returncode == 1
    assert "CANARY" not in done.stdout


def test_the_host_root_cannot_be_granted(place: Place) -> None:
    done = place.srt(settings(allowWrite=["/"]), "echo RAN")
    assert (done.returncode, done.stdout) == (1, "")
    assert "allowWrite" in done.stderr


def test_without_usr_nothing_starts(place: Place) -> None:
    done = place.srt(settings(denyRead=["/"], allowRead=["."]), "echo RAN")
    assert done.returncode != 0
    assert "RAN\n" not in done.stdout
