"""Remove a run's private tree. Light: the hot path imports it."""

import os
import stat


def remove_tree(path: str) -> None:
    """Remove a tree whose directories may deny access to their owner, as overlayfs' `work/work` (mode 000) does.

    SECURITY: every process of the run is dead and the tree lies in a private directory, so no name changes under us; a
    directory is opened up only after `lstat` showed it to be one.
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(found.st_mode):
        os.unlink(path)
        return
    directories = [path]
    for directory in directories:  # grows while it is walked
        os.chmod(directory, 0o700)
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    directories.append(entry.path)
                else:
                    os.unlink(entry.path)
    for directory in reversed(directories):
        os.rmdir(directory)


def remove_empty(root: str, parts: "list[str]") -> None:
    """rmdir(2) of a path below `root`, following no link; what is not there, or not empty, stays."""
    flags = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    place = os.open(root, flags)
    try:
        for part in parts[:-1]:
            below = os.open(part, flags, dir_fd=place)
            os.close(place)
            place = below
        os.rmdir(parts[-1], dir_fd=place)
    except OSError:
        pass
    finally:
        os.close(place)
