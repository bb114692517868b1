"""Launch artefacts on disk, keyed by request, valid while everything they were made from is unchanged.

SECURITY: an artefact decides what is mounted, so the cache is as trusted as policy itself: a directory of mode
0700 that we own, outside every view; anything else is ignored and made anew. The command, the working
directory and the environment's values are not part of it.
"""

import marshal
import os

from . import places

TYPE_CHECKING = False  # for type checkers only: `typing` costs 10 ms on the hot path
if TYPE_CHECKING:
    from ringfence.sandbox.artefact import Artefact

    Stamp = tuple[int, ...] | None

KEEP = 256
CLOCK_NS = 20_000_000  # files get the time of the last tick: 10 ms at CONFIG_HZ=100


def stamp(path: str) -> "tuple[int, ...] | None":
    """What tells that a path is as it was: for a directory its identity, else also size and time.

    SECURITY: of a symbolic link also what it leads to: policy may be kept elsewhere, and linked to its place.
    """
    try:
        found = os.lstat(path)
    except OSError:
        return None
    if found.st_mode & 0o170000 != 0o120000:
        return identity(found)
    try:
        return (*identity(found), *identity(os.stat(path)))
    except OSError:
        return identity(found)


def identity(found: os.stat_result) -> "tuple[int, ...]":
    """The part of a file's status that `stamp` compares."""
    if found.st_mode & 0o170000 == 0o040000:
        return (found.st_mode, found.st_ino, found.st_uid)
    return (found.st_mode, found.st_ino, found.st_uid, found.st_size, found.st_mtime_ns)


def listing_stamp(path: str) -> "tuple[int, ...] | None":
    """The same for a directory whose entries matter, because a glob was expanded there."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return (found.st_mode, found.st_ino, found.st_ctime_ns)  # a directory's mtime can be set back, and tar does so


def file_of(key: str) -> str:
    """Where the artefact for `key` is kept."""
    return f"{places.cache()}/launch/{digest(key.encode(errors='surrogateescape')).hex()}"


def digest(data: bytes) -> bytes:
    """Sixteen bytes that stand for `data`; hashlib itself would cost 2 ms."""
    from _blake2 import blake2b

    return blake2b(data, digest_size=16).digest()


class Entry:
    """What is kept under a key: in which file it was read, what it was made from, and the artefact, packed."""

    __slots__ = ("file", "listings", "packed", "paths")

    def __init__(
        self,
        file: "tuple[int, ...] | None",
        paths: "list[tuple[str, Stamp]]",
        listings: "list[tuple[str, Stamp]]",
        packed: bytes,
    ) -> None:
        self.file = file
        self.paths = paths
        self.listings = listings
        self.packed = packed

    def holds(self) -> bool:
        """Whether nothing it was made from has changed."""
        return all(stamp(path) == was for path, was in self.paths) and all(
            listing_stamp(path) == was for path, was in self.listings
        )


def load(key: str) -> "Artefact | None":
    """The artefact for `key` if there is one and nothing it was made from has changed."""
    from ringfence.sandbox import artefact

    found = entry(key)
    return artefact.loads(found.packed) if found and found.holds() else None


def kept_file(key: str) -> "tuple[int, ...] | None":
    """Which file is kept under `key`: each is written once, and a later one has another number or time."""
    return file_stamp(file_of(key))


def file_stamp(path: str) -> "tuple[int, ...] | None":
    """All that tells a file from any other and from itself at another time."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    number = (found.st_dev, found.st_ino)
    return (*number, found.st_mode, found.st_uid, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def read(key: str) -> bytes:
    """The bytes that are kept under `key`; empty where there are none, or they are not in a private file of ours."""
    try:
        descriptor = os.open(file_of(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        found = os.fstat(descriptor)
        if found.st_uid != os.getuid() or found.st_mode & 0o077:
            return b""
        return os.read(descriptor, found.st_size + 1)
    finally:
        os.close(descriptor)


def entry(key: str) -> "Entry | None":
    """What is kept under `key`, whether it holds or not."""
    file = kept_file(key)  # before it is read: a newer one is then told from what was read
    data = read(key)
    if not data or digest(data[16:]) != data[:16]:
        return None  # damaged: marshal must never see it
    try:
        stored_key, paths, listings, packed = marshal.loads(data[16:])  # noqa: S302 - a private file, checked above
    except (EOFError, ValueError, TypeError):
        return None
    return Entry(file, paths, listings, packed) if stored_key == key else None


def store(key: str, paths: "list[str]", listings: "list[str]", found: "Artefact", *, since_ns: int) -> None:
    """Remember `found`, made since `since_ns`; a cache that cannot be written is no error.

    SECURITY: a directory that changed after it was searched, or so shortly before that its time may not tell, would
    make a denied name pass unnoticed from then on; then nothing is remembered.
    """
    place = file_of(key)
    stamps = [(path, listing_stamp(path)) for path in listings]
    if any(was is not None and was[2] >= since_ns - CLOCK_NS for _, was in stamps):
        return
    directory = os.path.dirname(place)
    record = (key, [(p, stamp(p)) for p in paths], stamps, found.dumps())
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        status = os.lstat(directory)
        if status.st_uid != os.getuid() or status.st_mode & 0o077:
            return
        packed = marshal.dumps(record)
        write(place, digest(packed) + packed)
        prune(directory)
    except OSError:
        return


def write(place: str, data: bytes) -> None:
    """Put a file of ours there in one step, or none; raise OSError."""
    temporary = f"{place}.{os.getpid()}"
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
    try:
        is_whole = os.write(descriptor, data) == len(data)
    except OSError:
        is_whole = False
    finally:
        os.close(descriptor)
    if is_whole:
        os.rename(temporary, place)
    else:
        os.unlink(temporary)  # the disk is full


def prune(directory: str) -> None:
    """Keep the cache small: drop the oldest beyond `KEEP`."""
    names = os.listdir(directory)
    if len(names) > KEEP:
        paths = sorted((f"{directory}/{name}" for name in names), key=lambda path: os.lstat(path).st_mtime_ns)
        for path in paths[: len(names) - KEEP // 2]:
            os.unlink(path)
