"""A pack (gitformat-pack(5)), read as it arrives with little memory, and looked into afterwards.

    pack   = "PACK" version count *object 20OCTET          version, count: 4 octets; version 2 (3 is the same)
    object = type-and-size [ offset / base ] zlib          offset: how far before the base begins; base: its name

Theory of operation. `feed` follows the pack from object to object, which only inflating tells apart; content is thrown
away at once, but that of commits, tags and (where wanted) trees, of which the name is computed and where they begin is
kept. Deltas wait: `resolve` makes them afterwards, out of the spool in which the pack lies, base before what is made of
it. A delta on a blob is a blob, and of no interest. One whose base is not in the pack stays unknown, and so is its
name: whatever leads to it leads out of the pack, and is asked about elsewhere (git_push.py).

SECURITY: a pack is hostile. Objects, deltas, sizes and the work that all of it causes are bounded; what exceeds a bound
is `Malformed`, and then the push is refused. `resolve` gives way to others at each step, and within a long delta.
"""

from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator

from .git_entries import NAME_DELTA, OFFSET_DELTA, PIECE, Header, Inflating, read_header
from .git_objects import (
    COMMIT,
    MAX_OBJECT_BYTES,
    TAG,
    TREE,
    Commit,
    Tag,
    apply_delta,
    finished,
    identifier,
    read_commit,
    read_tag,
)
from .malformed import Malformed

UNKNOWN = 0  # of a delta whose base is not known, or not yet
MAX_OBJECTS = 2_000_000
MAX_KEPT = 150_000  # commits, tags and trees, and deltas that may be one
MAX_INFLATED = 16 << 30
MAX_WORK = 1 << 30  # bytes of deltas, and made of them
CACHE_BYTES = 16 << 20
MAX_DELTA_BYTES = 4 << 20
MAX_CHAIN_BYTES = 64 << 20  # of deltas, held at once until their base is there
DELTA_COST = 32  # what a byte of a delta costs, which may be an instruction, compared with one that is made
STEP_COST = 512  # what an object costs beside its bytes
TRAILER = 20
Read = Callable[[int, int], bytes]
"""Gives so many bytes of the pack from an offset on; fewer at its end."""


class Pack:
    """One pack; `trees` tells whether trees are wanted."""

    def __init__(self, *, trees: bool) -> None:
        self.commits: dict[bytes, Commit] = {}
        self.tags: dict[bytes, Tag] = {}
        self.offsets: dict[bytes, int] = {}
        self._wanted = (COMMIT, TAG, TREE) if trees else (COMMIT, TAG)
        self._begins = array("Q")
        self._kinds = bytearray()
        self._deltas = array("Q")
        self._rest = b""
        self._at = 0  # offset of `_rest`
        self._count = -1
        self._inflated = 0
        self._object: Inflating | None = None
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        self._cached = self._work = 0

    # ---- as it arrives

    def feed(self, data: bytes) -> None:
        """Follow further bytes; raise `Malformed`."""
        view = self._rest + data if self._rest else data
        position = 0
        while position < len(view):
            taken = self._step(view, position)
            if not taken:
                break
            position += taken
        self._at += position
        self._rest = view[position:]

    def finish(self) -> None:
        """Require that the pack is complete; raise `Malformed`."""
        if self._object is not None or len(self._begins) != self._count or len(self._rest) != TRAILER:
            raise Malformed("a pack that ends early")

    def _step(self, view: bytes, position: int) -> int:
        """Read one thing at `position`; how many bytes it took, 0 where more must come first."""
        if self._object is not None:
            return self._inflate(self._object, view, position)
        if self._count < 0:
            return self._open(view)
        if len(self._begins) == self._count:
            if len(view) - position > TRAILER:
                raise Malformed("bytes behind a pack")
            return 0
        header = read_header(view[position : position + 32], self._at + position)
        if header is None:
            if len(view) - position >= 32:
                raise Malformed("an object of a pack without a proper header")
            return 0
        self._begin(header, self._at + position)
        return header.length

    def _open(self, view: bytes) -> int:
        if len(view) < 12:
            return 0
        if view[:4] != b"PACK" or int.from_bytes(view[4:8], "big") not in (2, 3):
            raise Malformed("not a pack")
        self._count = int.from_bytes(view[8:12], "big")
        if self._count > MAX_OBJECTS:
            raise Malformed(f"a pack with more than {MAX_OBJECTS:,} objects")
        return 12

    def _begin(self, header: Header, offset: int) -> None:
        kind = self._kind(header)
        wanted = kind in self._wanted
        if header.kind in (OFFSET_DELTA, NAME_DELTA) and (wanted or kind == UNKNOWN):
            self._deltas.append(offset)
            wanted = False
        if wanted and header.size > MAX_OBJECT_BYTES:
            raise Malformed("a commit, tag or tree that is too large to be looked into")
        if len(self._deltas) + len(self.offsets) > MAX_KEPT:
            raise Malformed("a pack with too many commits, trees and deltas to be looked into")
        self._begins.append(offset)
        self._kinds.append(kind)
        self._object = Inflating(offset, kind, header.size, keep=wanted)

    def _kind(self, header: Header) -> int:
        if header.kind == NAME_DELTA:
            return UNKNOWN
        if not isinstance(header.base, int) or header.kind != OFFSET_DELTA:
            return header.kind
        return self._kinds[self._index(header.base)]

    def _index(self, offset: int) -> int:
        index = bisect_left(self._begins, offset)
        if index == len(self._begins) or self._begins[index] != offset:
            raise Malformed("a delta whose base is no object")
        return index

    def _inflate(self, current: Inflating, view: bytes, position: int) -> int:
        before = current.got
        taken = current.take(view, position)
        self._inflated += current.got - before
        if self._inflated > MAX_INFLATED:
            raise Malformed("a pack that inflates to too much")
        if current.complete:
            if current.content is not None:
                self._know(current.kind, current.content, current.offset)
            self._object = None
        return taken

    def _know(self, kind: int, content: bytes, offset: int) -> bytes:
        name = identifier(kind, content)
        self.offsets.setdefault(name, offset)  # the first: what it is made of is known without it
        if kind == COMMIT:
            self.commits[name] = read_commit(content)
        elif kind == TAG:
            self.tags[name] = read_tag(content)
        return name

    # ---- afterwards

    def resolve(self, read: Read) -> Iterator[None]:
        """Make every wanted delta whose base is in the pack; gives way at each. Raises `Malformed`."""
        waiting: dict[int | bytes, list[int]] = {}
        ready: list[int] = []
        deltas = set(self._deltas)
        for offset in self._deltas:
            base = self._header(read, offset).base
            known = base in self.offsets if isinstance(base, bytes) else base not in deltas
            if known:
                ready.append(offset)
            else:
                waiting.setdefault(base, []).append(offset)
            yield
        while ready:
            offset = ready.pop()
            kind, name = yield from self._make(read, offset)
            index = self._index(offset)
            self._kinds[index] = kind
            ready += waiting.pop(offset, [])
            if name:
                ready += waiting.pop(name, [])
            yield

    def _make(self, read: Read, offset: int) -> Generator[None, None, tuple[int, bytes]]:
        base = self._base(self._header(read, offset))
        kind = self._kinds[self._index(base)]
        if kind not in self._wanted:
            return kind, b""
        return kind, self._know(kind, (yield from self._content(read, offset)), offset)

    def content(self, read: Read, name: bytes) -> bytes:
        """Give an object whose name is in `offsets`; raise `Malformed`."""
        return finished(self._content(read, self.offsets[name]))

    def _content(self, read: Read, offset: int) -> Generator[None, None, bytes]:
        chain: list[tuple[int, bytes]] = []
        at, held = offset, 0
        while (found := self._cache.get(at)) is None:
            header = self._header(read, at)
            is_delta = header.kind in (OFFSET_DELTA, NAME_DELTA)
            if header.size > (MAX_DELTA_BYTES if is_delta else MAX_OBJECT_BYTES):
                raise Malformed("an object or a delta that is too large to be looked into")
            data = self._deflated(read, at + header.length, header.size)
            if not is_delta:
                found = self._remember(at, data)
                break
            self._spend(len(data) * DELTA_COST)
            chain.append((at, data))
            held += len(data)
            if len(chain) > 5000 or held > MAX_CHAIN_BYTES:  # git makes 4,095 at most, mostly of some bytes
                raise Malformed("a chain of deltas that is too long")
            at = self._base(header)
        for at, delta in reversed(chain):
            found = self._remember(at, (yield from apply_delta(found, delta)))
        return found

    def _base(self, header: Header) -> int:
        if isinstance(header.base, bytes):
            return self.offsets[header.base]
        return header.base

    def _header(self, read: Read, offset: int) -> Header:
        header = read_header(read(offset, 32), offset)
        if header is None:
            raise Malformed("a pack that has changed")
        return header

    def _deflated(self, read: Read, offset: int, size: int) -> bytes:
        current = Inflating(offset, UNKNOWN, size, keep=True)
        while not current.complete:
            piece = read(offset, PIECE)
            if not piece:
                raise Malformed("a pack that has changed")
            offset += current.take(piece, 0)
        return current.content or b""

    def _spend(self, size: int) -> None:
        self._work += size + STEP_COST
        if self._work > MAX_WORK:
            raise Malformed("a pack that is too much work to be looked into")

    def _remember(self, offset: int, content: bytes) -> bytes:
        self._spend(len(content))
        self._cache[offset] = content
        self._cached += len(content)
        while self._cached > CACHE_BYTES and len(self._cache) > 1:
            self._cached -= len(self._cache.popitem(last=False)[1])
        return content
