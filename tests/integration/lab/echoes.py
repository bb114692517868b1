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
import quopri
import urllib.parse
import zlib
from collections.abc import Callable

from tests.integration.lab.accounts import shown
from tests.integration.lab.http1 import Response

PAUSE_S = 0.02
Written = Callable[[bytes], bytes]


DICTIONARY = b"known to both sides"


def _raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def _with_dictionary(data: bytes) -> bytes:
    packer = zlib.compressobj(zdict=DICTIONARY)
    return packer.compress(data) + packer.flush()


def _named(data: bytes) -> bytes:
    """A file of gzip whose name says it all (RFC 1952, FNAME)."""
    packed = gzip.compress(b"x")
    return packed[:3] + b"\x08" + packed[4:10] + data + b"\0" + packed[10:]


def _lines(data: bytes, end: bytes, width: int = 12) -> bytes:
    return end.join(data[at : at + width] for at in range(0, len(data), width))


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
    "base64-folded": lambda data: _lines(base64.b64encode(data), b"\r\n "),
    "base64-of-utf-16": lambda data: base64.b64encode(data.decode("latin-1").encode("utf-16-le")),
    "utf-7": lambda data: (
        b"+" + base64.b64encode(data.decode("latin-1").encode("utf-16-be")).rstrip(b"=") + b"-"  # RFC 2152
    ),
    "base32": base64.b32encode,
    "base85": base64.b85encode,
    "ascii85": base64.a85encode,
    "uuencode": lambda data: codecs.encode(data, "uu"),
    "hex": lambda data: data.hex().encode(),
    "HEX": lambda data: data.hex().upper().encode(),
    "hex-lines": lambda data: _lines(data.hex().encode(), b"\n"),
    "bits": lambda data: " ".join(f"{byte:08b}" for byte in data).encode(),
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
    "utf-16-be": lambda data: data.decode("latin-1").encode("utf-16-be"),
    "ebcdic": lambda data: data.decode("latin-1").encode("cp500"),
    "quoted-printable": lambda data: quopri.encodestring(data, quotetabs=True),
    "quoted-printable-lines": lambda data: quopri.encodestring(b"x" * 60 + data),
    "lines": lambda data: _lines(data, b"\n"),
    "characters": lambda data: json.dumps(list(data.decode("latin-1"))).encode(),
    "capitals": lambda data: data.decode("latin-1").swapcase().encode("latin-1"),
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
    "gzip-in-capitals": ("GZip", gzip.compress),
    "gzip-of-another-sum": ("gzip", lambda data: gzip.compress(data)[:-8] + bytes(8)),
    "gzip-cut-short": ("gzip", lambda data: gzip.compress(data)[:-8]),
    "gzip-with-more-behind": ("gzip", lambda data: gzip.compress(b"x") + data),
    "gzip-in-a-name": ("gzip", _named),
    "deflate-with-more-behind": ("deflate", lambda data: zlib.compress(b"x") + data),
    "deflate-with-a-dictionary": ("deflate", _with_dictionary),
    "gzip-and-identity": ("gzip, identity", gzip.compress),
    "br-said": ("br", bytes),
    "zstd-said": ("zstd", bytes),
    "unknown-said": ("x-lab", bytes),
    "gzip-and-unknown": ("gzip, x-lab", bytes),
}

try:
    import brotli  # type: ignore[import-not-found, unused-ignore]  # not a dependency; played where it is installed
except ModuleNotFoundError:
    pass
else:
    PACKED["br"] = ("br", brotli.compress)

# How the answer carries it elsewhere than in one body of known length.
_USUAL = ("split", "split-gzip", "split-bytes", "sse", "close", "header", "header-base64", "header-twice", "cookie")
_ODDER = ("refresh", "transfer-gzip", "switched", "old-version", "two-lengths")
_ODD = (
    *_ODDER,
    "location",
    "challenge",
    "reason",
    "trailer",
    "chunk-extension",
    "early-hints",
    "header-name",
    "multipart",
)
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
        "refresh": {"refresh": f"0; url=https://public.example.net/?token={text}"},
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
        "transfer-gzip": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
        + (b"%x\r\n%s\r\n0\r\n\r\n" % (len(gzip.compress(body)), gzip.compress(body))),
        "switched": b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n" + body[::-1],
        "old-version": b"HTTP/1.0 200 OK\r\n\r\n" + body,
        "two-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 99\r\n\r\n" + body,
    }
    response.persistent = response.persistent and name not in ("close", *_ODDER)
    response.writer.write(answers[name])
    await response.writer.drain()
