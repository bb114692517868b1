"""The client of `bench.secrets`: standard library only, run inside each sandbox. Usage: secrets_client.py JSON.

Milliseconds for a request on a new connection and on a kept one, with the credential in its header; milliseconds for a
megabyte down (plain, and packed by gzip, as text that holds no secret) and up.
"""

import http.client
import json
import os
import statistics
import sys
import time

SMALL = "/hello"
MB = 1_000_000


def connect(host: str) -> http.client.HTTPSConnection:
    """A connection; the certificate is the session's, which the system's store holds inside."""
    return http.client.HTTPSConnection(host, timeout=60)


def headers() -> dict[str, str]:
    """The credential, where there is one."""
    token = os.environ.get("BENCH_0", "")
    return {"Authorization": f"Bearer {token}"} if token else {}


def request(made: http.client.HTTPSConnection, path: str, body: bytes | None = None) -> int:
    """One request, with its whole answer; the size of that."""
    made.request("POST" if body else "GET", path, body, headers())
    answer = made.getresponse()
    data = answer.read()
    if answer.status != 200:
        raise SystemExit(f"{path}: {answer.status} {data[:200]!r}")
    return len(data)


def taken_ms(step: "object", count: int) -> float:
    """Median milliseconds of a step."""
    assert callable(step)
    found = []
    for _ in range(count):
        start = time.perf_counter()
        step()
        found.append((time.perf_counter() - start) * 1000)
    return statistics.median(found)


def once(host: str) -> None:
    """A request on a connection of its own."""
    made = connect(host)
    request(made, SMALL)
    made.close()


def text(size: int) -> bytes:
    """Text of that size, as sources and JSON are: words, digits, punctuation."""
    line = b'{"name": "value of some length", "number": 1234567, "url": "https://example.com/a/b?c=d&e=f"}\n'
    return (line * (size // len(line) + 1))[:size]


def measured(host: str, scale: float) -> dict[str, float]:
    """Every figure."""
    size = int(20 * MB * scale) or MB
    once(host)
    made = connect(host)
    request(made, SMALL)
    found = {
        "new connection ms": taken_ms(lambda: once(host), max(10, int(60 * scale))),
        "kept ms": taken_ms(lambda: request(made, SMALL), max(20, int(300 * scale))),
        "down ms/MB": taken_ms(lambda: request(made, f"/bytes/{size}"), 3) / (size / MB),
        "text down ms/MB": taken_ms(lambda: request(made, f"/text/{size}"), 3) / (size / MB),
        "gzip down ms/MB": taken_ms(lambda: request(made, f"/text-gzip/{size}"), 3) / (size / MB),
        "up ms/MB": taken_ms(lambda: request(made, "/upload", text(size)), 3) / (size / MB),
    }
    made.close()
    return found


def main() -> None:
    """Measure and print JSON, or use the way once and wait."""
    wanted = json.loads(sys.argv[1])
    if "hold" in wanted:
        once(wanted["host"])
        print("holding", flush=True)
        sys.stdin.read()
    else:
        print(json.dumps(measured(wanted["host"], wanted["scale"])), flush=True)


if __name__ == "__main__":
    main()
