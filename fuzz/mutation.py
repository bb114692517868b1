"""Runs a fuzz target: by atheris where it is installed, else by random mutation of its seeds, with nothing but Python.

    PYTHONPATH=src python fuzz/fuzz_authority.py SECONDS [SEED]      # stop after so long; a SEED repeats a run
    PYTHONPATH=src python fuzz/fuzz_authority.py -atheris [options]  # libFuzzer's own options and corpus

A target is a function of bytes that returns quietly or raises: `AssertionError` where a property of the parser does
not hold, anything else where the parser let something out that is not `Malformed`. What made it raise is printed.
"""

import random
import sys
import time
from collections.abc import Callable, Sequence

Target = Callable[[bytes], None]

LARGEST = 4096
INTERESTING = (
    b"\0", b"\1", b"\x7f", b"\x80", b"\xff", b"\xff\xff", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b":", b"@",
    b".", b"..", b"/", b"//", b"\\", b"%", b"%2e", b"%2f", b"%5c", b"%25", b"%00", b"%c0%af", b";", b"?", b"#", b"*",
    b"[", b"]", b"[::1]", b"127.0.0.1", b"0x7f.1", b"xn--", b"_", b"-", b",", b"\xc0\x0c", b"chunked",
    b"Host: a\r\n", b"http://",
)  # fmt: skip


def run(target: Target, seeds: Sequence[bytes]) -> None:
    """Fuzz as the command line says."""
    if sys.argv[1:2] == ["-atheris"]:
        import atheris

        atheris.instrument_all()
        atheris.Setup([sys.argv[0], *sys.argv[2:]], target)
        atheris.Fuzz()
        return
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().getrandbits(32)
    count = mutate_for(seconds, target, seeds, random.Random(seed))
    print(f"{sys.argv[0]}: {count} inputs, seed {seed}, nothing found")


def mutate_for(seconds: float, target: Target, seeds: Sequence[bytes], source: random.Random) -> int:
    """Feed mutated seeds to `target` for so long and return how many; a finding is printed and raised."""
    end = time.monotonic() + seconds
    count = 0
    for data in seeds:
        attempt(target, data)
    while time.monotonic() < end:
        for _ in range(100):
            attempt(target, mutated(seeds, source))
        count += 100
    return count


def attempt(target: Target, data: bytes) -> None:
    """Feed one input to `target`; print it where that raises."""
    try:
        target(data)
    except BaseException:
        print(f"found: {data!r}", file=sys.stderr)
        raise


def mutated(seeds: Sequence[bytes], source: random.Random) -> bytes:
    """Return a seed that has been changed in one to eight places."""
    data = bytearray(source.choice(seeds))
    for _ in range(source.randint(1, 8)):
        place = source.randint(0, len(data))
        match source.randrange(7):
            case 0 if place < len(data):
                data[place] ^= 1 << source.randrange(8)
            case 1 if place < len(data):
                data[place] = source.randrange(256)
            case 2:
                data[place:place] = source.choice(INTERESTING)
            case 3:
                del data[place : place + source.randint(1, 16)]
            case 4:
                data[place:place] = data[place : place + source.randint(1, 64)]
            case 5:
                other = source.choice(seeds)
                data[place:] = other[source.randint(0, len(other)) :]
            case _:
                data[place : place + 1] = source.randbytes(source.randint(1, 4))
    return bytes(data[:LARGEST])
