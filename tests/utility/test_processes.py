"""Processes among themselves: children, threads, shared memory, signals, sockets, debugging, terminals."""

import pytest

from tests.utility.confined import Item, Place, carry_out, python

# multiprocessing needs a module that its children can import.
POOL = """cat >work.py <<'EOF'
import multiprocessing as mp, sys
def square(n): return n * n
def put(queue, value): queue.put(value)
if __name__ == "__main__":
    mp.set_start_method(sys.argv[1])
    with mp.Pool(4) as pool: assert pool.map(square, range(100)) == [n * n for n in range(100)]
    queue = mp.Queue(); process = mp.Process(target=put, args=(queue, b"x" * 1_000_000)); process.start()
    assert len(queue.get(timeout=20)) == 1_000_000; process.join(); assert process.exitcode == 0
    lock, value, array = mp.Lock(), mp.Value("i", 1), mp.Array("d", 10)
    with lock: value.value += 1
    with mp.Manager() as manager: shared = manager.dict(); shared["k"] = 1; assert dict(shared) == {"k": 1}
