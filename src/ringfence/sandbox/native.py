"""Which of the optional native programs is taken: one that is there and no older than what it follows."""

import os


def current(places: "tuple[str, ...]") -> str:
    """The first of `places` if it is a program and no older than the others, of which the first is its source.

    Empty otherwise. Where its source stands beside it, in a developer's tree, an edit of that or of the Python that it
    follows is never without effect. A wheel holds the program without its source.
    """
    binary, source, *reference = places
    if not (os.path.isfile(binary) and os.access(binary, os.X_OK)):
        return ""
    sources = [source, *reference] if os.path.exists(source) else []
    return binary if all(os.stat(binary).st_mtime_ns >= os.stat(path).st_mtime_ns for path in sources) else ""
