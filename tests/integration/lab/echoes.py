"""`/echo-in/ENCODING`: a server that gives a request's credential back, as servers do by accident or by design.

`?header=NAME` says which header it takes it from, `?size=N` puts that many bytes before and behind it. A `Range` is
honoured where the answer is a plain body.
"""

import asyncio
import base64
import codecs
import gzip
import html
import json
import urllib.parse
import zlib
from collections.abc import Callable

from tests.integration.lab.accounts import shown
from tests.integration.lab.http1 import Response

PAUSE_S = 0.02
Written = Callable[[bytes], bytes]


def _raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def _percent(form: str) -> Written:
    return lambda data: "".join(form % byte for byte in data).encode()


# How the credential is written in a body.
WRITTEN: dict[str, Written] = {
    "raw": bytes,
    "base64": base64.b64encode,
    "base64-1": lambda data: base64.b64encode(b"x" + data),
    "base64-2": lambda data: base64.b64encode(b"xy" + data),
    "base64-user": lambda data: base64.b64encode(b"x-access-token:" + data),
    "base64url": lambda data: base64.urlsafe_b64encode(data).rstrip(b"="),
    "base64url-1": lambda data: base64.urlsafe_b64encode(b"~" + data).rstrip(b"="),
    "base64url-2": lambda data: base64.urlsafe_b64encode(b"~?" + data).rstrip(b"="),
    "base64-lines": lambda data: base64.encodebytes(bytes(40) + data + bytes(40)),
    "double-base64": lambda data: base64.b64encode(base64.b64encode(data)),
    "base32": base64.b32encode,
    "hex": lambda data: data.hex().encode(),
    "HEX": lambda data: data.hex().upper().encode(),
    "url": lambda data: urllib.parse.quote_from_bytes(data, safe="").encode(),
    "percent": _percent("%%%02X"),
    "percent-lower": _percent("%%%02x"),
    "double-percent": _percent("%%25%02X"),
    "json": lambda data: json.dumps(data.decode("latin-1")).encode(),
    "json-escapes": _percent("\\u%04x"),
    "json-slashes": lambda data: data.replace(b"/", b"\\/").replace(b"+", b"\\u002b"),
    "html": lambda data: html.escape(data.decode("latin-1")).encode(),
    "html-decimal": _percent("&#%d;"),
    "html-hex": _percent("&#x%x;"),
    "reversed": lambda data: data[::-1],
    "rot13": lambda data: codecs.encode(data.decode("latin-1"), "rot13").encode("latin-1"),
    "utf-16": lambda data: data.decode("latin-1").encode("utf-16-le"),
    "halves": lambda data: data[: len(data) // 2] + b" and " + data[len(data) // 2 :],
    "spaced": lambda data: b" ".join(bytes([byte]) for byte in data),
}

# How the body is packed, under which Content-Encoding.
PACKED: dict[str, tuple[str, Written]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "raw-deflate": ("deflate", _raw_deflate),
    "gzip-twice": ("gzip, gzip", lambda data: gzip.compress(gzip.compress(data))),
    "gzip-members": ("gzip", lambda data: b"".join(gzip.compress(data[at : at + 9]) for at in range(0, len(data), 9))),
    "gzip-of-base64": ("gzip", lambda data: gzip.compress(base64.b64encode(data))),
    "gzip-unsaid": ("", gzip.compress),
    "br-said": ("br", bytes),
    "zstd-said": ("zstd", bytes),
    "unknown-said": ("x-lab", bytes),
}

try:
    import brotli  # type: ignore[import-not-found, unused-ignore]  # not a dependency; played where it is installed
except ModuleNotFoundError:
    pass
else:
    PACKED["br"] = ("br", brotli.compress)

# How the answer carries it elsewhere than in one body of known length.
_USUAL = ("split", "split-gzip", "split-bytes", "sse", "close", "header", "header-base64", "header-twice", "cookie")
_ODD = ("location", "challenge", "reason", "trailer", "chunk-extension", "early-hints", "header-name", "multipart")
CARRIED = _USUAL + _ODD
ENCODINGS = (*WRITTEN, *PACKED, *CARRIED)


async def serve(response: Response) -> None:
    """Answer one request."""
    request = response.request
    asked = dict(urllib.parse.parse_qsl(request.target.partition("?")[2]))
    value = shown(request, asked.get("header", "authorization")).encode("latin-1")
    around = b"." * int(asked.get("size", "1"))
    name = request.path.rpartition("/")[2]
    if name in WRITTEN:
        return await _body(response, around + WRITTEN[name](value) + around, "")
    if name in PACKED:
        coding, pack = PACKED[name]
        return await _body(response, pack(around + value + around), coding)
    if name in CARRIED:
        return await _carried(response, name, value, around + value + around)
    return await response.send(404, "")


async def _body(response: Response, data: bytes, coding: str) -> None:
    more = {"content_encoding": coding} if coding else {}
    first, _, last = response.request.header("range").removeprefix("bytes=").partition("-")
    if not first.isdigit():
        return await response.send(200, data, **more)
    low, high = int(first), min(int(last or len(data)), len(data) - 1)
    where = f"bytes {low}-{high}/{len(data)}"
    return await response.send(206, data[low : high + 1], content_range=where, **more)


async def _carried(response: Response, name: str, value: bytes, body: bytes) -> None:
    text = value.decode("latin-1")
    more = {
        "header": {"x_seen": text},
        "header-base64": {"x_seen": "Basic " + base64.b64encode(b"user:" + value).decode()},
        "cookie": {"set_cookie": f"session={text}; Path=/"},
    }
    if name in more:
        return await response.send(200, "ok\n", **more[name])
    if name == "location":
        return await response.send(302, "", location=f"https://public.example.net/?token={text}")
    if name == "challenge":
        return await response.send(401, f"bad token {text}\n", www_authenticate=f'Bearer error="{text} is expired"')
    if name.startswith("split") or name == "sse":
        return await _split(response, name, body)
    return await _odd(response, name, value, body)


async def _split(response: Response, name: str, body: bytes) -> None:
    """In chunks, each of which goes off alone."""
    size = {"split-bytes": 1, "split-gzip": 5}.get(name, 7)
    kind = {"sse": "text/event-stream"}.get(name, "text/plain")
    coding = {"Content-Encoding": "gzip"} if name == "split-gzip" else {}
    data = gzip.compress(body) if coding else b"data: " + body + b"\n\n" if name == "sse" else body
    response.head(200, {"Content-Type": kind, "Transfer-Encoding": "chunked"} | coding)
    for at in range(0, len(data), size):
        await response.chunk(data[at : at + size])
        if len(data) < 1000:
            await asyncio.sleep(PAUSE_S)
    await response.chunk(b"")


async def _odd(response: Response, name: str, value: bytes, body: bytes) -> None:
    """Where hardly anybody looks; written as bytes, for no library would."""
    plain = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n"
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
    part = b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n' + value + b"\r\n--b--\r\n"
    multipart = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Length: %d\r\n\r\n%s"
    answers = {
        "close": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body,
        "reason": b"HTTP/1.1 200 " + value + b"\r\nContent-Length: 3\r\n\r\nok\n",
        "trailer": chunked + b"Trailer: X-Seen\r\n\r\n3\r\nok\n\r\n0\r\nX-Seen: " + value + b"\r\n\r\n",
        "chunk-extension": chunked + b"\r\n3;seen=" + value + b"\r\nok\n\r\n0\r\n\r\n",
        "early-hints": b"HTTP/1.1 103 Early Hints\r\nLink: </"
        + value
        + b">; rel=preload\r\n\r\n"
        + plain
        + b"\r\nok\n",
        "header-name": plain + b"X-" + value.replace(b":", b"") + b": 1\r\n\r\nok\n",
        "header-twice": plain + b"X-Seen: a\r\nX-Seen: " + value + b"\r\n\r\nok\n",
        "multipart": multipart % (len(part), part),
    }
    response.persistent = response.persistent and name != "close"
    response.writer.write(answers[name])
    await response.writer.drain()
