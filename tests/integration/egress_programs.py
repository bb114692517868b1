"""Programs that fetch URLs, each in its own way, for tests that run them inside a boundary.

A program takes URLs as arguments and fetches one after the other: for each it prints a line `== URL`, then the body
or what went wrong. So one run of a boundary serves several questions.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests import requirements

_CURL = 'for url in "$@"; do echo "== $url"; curl -sS -m50 %s "$url" 2>&1; done'
_WGET = 'for url in "$@"; do echo "== $url"; wget -nv -T50 -t1 -O- --content-on-error "$url" 2>&1; done; true'

_PYTHON = """
import sys
{setup}
for url in sys.argv[1:]:
    print("==", url, flush=True)
    try:
        print(fetch(url), flush=True)
    except Exception as error:
        print(type(error).__name__, error, flush=True)
"""
_URLLIB = "import urllib.request\ndef fetch(url): return urllib.request.urlopen(url, timeout=50).read().decode()"
_REQUESTS = "import requests\ndef fetch(url): return requests.get(url, timeout=50).text"
_HTTPX = "import httpx\ndef fetch(url): return httpx.get(url, timeout=50).text"
_HTTP_CLIENT = """
import http.client, urllib.parse
def fetch(url):
    parts = urllib.parse.urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=50)
    connection.request("GET", parts.path)
    return connection.getresponse().read().decode()
"""
_SOCKETS = """
import socket, ssl, urllib.parse
def fetch(url):
    parts = urllib.parse.urlsplit(url)
    link = socket.create_connection((parts.hostname, 443 if parts.scheme == "https" else 80), 50)
    if parts.scheme == "https":
        link = ssl.create_default_context().wrap_socket(link, server_hostname=parts.hostname)
    link.sendall(f"GET {parts.path} HTTP/1.1\\r\\nHost: {parts.netloc}\\r\\nConnection: close\\r\\n\\r\\n".encode())
    return b"".join(iter(lambda: link.recv(65536), b"")).decode()
"""
_ASYNCIO = """
import asyncio, urllib.parse
async def get(parts):
    secure = parts.scheme == "https"
    reader, writer = await asyncio.open_connection(parts.hostname, 443 if secure else 80, ssl=secure or None)
    writer.write(f"GET {parts.path} HTTP/1.1\\r\\nHost: {parts.netloc}\\r\\nConnection: close\\r\\n\\r\\n".encode())
    return (await reader.read()).decode()
def fetch(url): return asyncio.run(asyncio.wait_for(get(urllib.parse.urlsplit(url)), 50))
"""

_NODE_FETCH = """
for (const url of process.argv.slice(2)) {
  console.log("== " + url);
  await fetch(url).then((got) => got.text()).then(console.log, (e) => console.log(e.message, e.cause?.message));
}
"""
_NODE_HTTP = """
import http from "node:http";
import https from "node:https";
const get = (url) => new Promise((resolve, reject) => {
  const request = (url.startsWith("https:") ? https : http).get(url, (got) => {
    let text = "";
    got.on("data", (part) => (text += part)).on("end", () => resolve(text));
  });
  request.on("error", reject);
});
for (const url of process.argv.slice(2)) {
  console.log("== " + url);
  await get(url).then(console.log, (e) => console.log(e.message));
}
"""

_JAVA = """
import java.net.URI;
import java.net.http.*;
import java.time.Duration;
public class Fetch {
  public static void main(String[] urls) throws Exception {
    HttpClient client = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(50)).build();
    for (String url : urls) {
      System.out.println("== " + url);
      HttpRequest request = HttpRequest.newBuilder(URI.create(url)).timeout(Duration.ofSeconds(50)).build();
      try {
        System.out.println(client.send(request, HttpResponse.BodyHandlers.ofString()).body());
      } catch (java.io.IOException error) {
        System.out.println(error);
      }
    }
  }
}
"""

_GO = """
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

func main() {
	client := http.Client{Timeout: 50 * time.Second}
	for _, url := range os.Args[1:] {
		fmt.Println("== " + url)
		answer, err := client.Get(url)
		if err != nil {
			fmt.Println(err)
			continue
		}
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		fmt.Println(string(body))
	}
}
"""


@dataclass(frozen=True)
class Program:
    """How to run it, the files it needs beside it, how they are compiled, and what the machine must have."""

    argv: tuple[str, ...]
    needs: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    compile: tuple[str, ...] = ()
    ignores_proxies: bool = False

    def install(self, place: Path) -> None:
        """Put its files into a directory; skip the test where the machine lacks what it needs."""
        requirements.require(*self.needs)
        for name, text in self.files.items():
            (place / name).write_text(text)


def _shell(text: str, need: str) -> Program:
    return Program(("sh", "-c", text, "sh"), needs=(need,))


def _python(setup: str, *, ignores_proxies: bool = False) -> Program:
    code = _PYTHON.format(setup=setup)
    return Program((sys.executable, "fetch.py"), files={"fetch.py": code}, ignores_proxies=ignores_proxies)


PROGRAMS = {
    "curl": _shell(_CURL % "", "curl"),
    "curl-http2": _shell(_CURL % "--http2", "curl"),
    "curl-socks": _shell(_CURL % "--proxy socks5h://127.0.0.1:3128", "curl"),
    "curl-connect": _shell(_CURL % "--proxy http://127.0.0.1:3128 --proxytunnel", "curl"),
    "wget": _shell(_WGET, "wget"),
    "python-urllib": _python(_URLLIB),
    "python-requests": _python(_REQUESTS),
    "python-httpx": _python(_HTTPX),
    "python-http.client": _python(_HTTP_CLIENT, ignores_proxies=True),
    "python-sockets": _python(_SOCKETS, ignores_proxies=True),
    "python-asyncio": _python(_ASYNCIO, ignores_proxies=True),
    "node-fetch": Program(("node", "fetch.mjs"), ("node",), {"fetch.mjs": _NODE_FETCH}, ignores_proxies=True),
    "node-http": Program(("node", "get.mjs"), ("node",), {"get.mjs": _NODE_HTTP}, ignores_proxies=True),
    "java": Program(("java", "Fetch"), ("javac",), {"Fetch.java": _JAVA}, ("javac", "Fetch.java"), True),
    "go": Program(("./fetch",), ("go",), {"fetch.go": _GO}, ("go", "build", "-o", "fetch", "fetch.go")),
}
PROXY_VARIABLES = tuple(name for each in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY") for name in (each, each.lower()))
WITHOUT_PROXIES = ("env", *(word for name in PROXY_VARIABLES for word in ("-u", name)))


def parts(output: str) -> dict[str, str]:
    """Split what a program printed by URL."""
    found: dict[str, str] = {}
    for part in output.split("== ")[1:]:
        url, _, text = part.partition("\n")
        found[url] = text
    return found
