"""What nobody has trusted does not exist in a run: whiteouts in its layers, made before these are mounted.

Theory of operation. A character device 0:0 in the upper layer removes a name of the lower one
(Documentation/filesystems/overlayfs.rst); since Linux 5.8 making one needs no privilege (vfs_mknod, fs/namei.c).
Inside, the name is not listed and opening it says ENOENT; what the command makes under it is held back at the end.
SECURITY: a whiteout of ours must never become a deletion on the host, so those still there are taken away before the
layers are read; of a run that was killed they stay, and its record says that these paths may not be written.
"""

import os
import stat

TYPE_CHECKING = False  # for type checkers only: `typing` costs 10 ms
if TYPE_CHECKING:
    from ringfence.sandbox.artefact import Artefact

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def hide(artefact: "Artefact", uppers: "list[str]") -> None:
    """Make the whiteouts, and the directories above them like those they lie over; raise OSError where that fails."""
    owner = artefact.owner if artefact.idmap else (-1, -1)
    for number, relative in artefact.whiteouts:
        upper, lower = uppers[number], artefact.lowers[number]
        parts = relative.split("/")
        for depth in range(1, len(parts)):
            part = "/".join(parts[:depth])
            if not os.path.isdir(f"{upper}/{part}"):
                os.mkdir(f"{upper}/{part}")
                os.chown(f"{upper}/{part}", *owner)
                os.chmod(f"{upper}/{part}", os.lstat(f"{lower}/{part}").st_mode & 0o7777)
        os.mknod(f"{upper}/{relative}", stat.S_IFCHR, 0)
        os.chown(f"{upper}/{relative}", *owner, follow_symlinks=False)


def reveal(artefact: "Artefact", uppers: "list[str]") -> None:
    """Take away the whiteouts that are still there; every process of the run is dead.

    SECURITY: the command may have put links in place of the directories above; none is followed.
    """
    for number, relative in artefact.whiteouts:
        place = os.open(uppers[number], DIRECTORY)
        *above, name = relative.split("/")
        try:
            for part in above:
                below = os.open(part, DIRECTORY, dir_fd=place)
                os.close(place)
                place = below
            found = os.lstat(name, dir_fd=place)
            if stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:
                os.unlink(name, dir_fd=place)
        except FileNotFoundError:
            pass  # the command removed a directory above, which its own whiteout says
        except NotADirectoryError:
            pass  # or put something else in its place
        finally:
            os.close(place)
