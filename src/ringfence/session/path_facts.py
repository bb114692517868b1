"""What the disk says about paths, for the permission engine, which looks at nothing itself."""

import os


class DiskFacts:
    """Facts read from the disk at the moment they are asked for; nothing is kept, since links change."""

    def resolve(self, path: str) -> str:
        """Return the absolute `path` with every link followed, as far as it exists."""
        try:
            return os.path.realpath(path)
        except (OSError, ValueError):
            return path

    def repository_inside(self, directory: str) -> str:
        """Return `directory`, or one directly in it, if git would take it for a bare repository; else nothing.

        `.git` itself is where a repository belongs and is not meant.
        """
        try:
            names = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir() and entry.name != ".git")
        except OSError:
            return ""
        for folder in (directory, *(os.path.join(directory, name) for name in names)):
            if all(os.path.exists(os.path.join(folder, name)) for name in ("HEAD", "objects", "refs")):
                return folder
        return ""
