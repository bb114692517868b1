"""A node registry: a tree of 300 packages, one with a lifecycle script, one with an addon in C, and node's headers."""

import base64
import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

from tests.ecosystem.archives import tarball
from tests.integration.lab.world import NODE_HEADERS, NODE_REGISTRY, YARN_REGISTRY

TREE = 300
PUBLISHED = "2020-01-01T00:00:00.000Z"
INCLUDE = Path("/usr/include/node")

_GYP = '{"targets": [{"target_name": "addon", "sources": ["addon.c"]}]}'
_ADDON = """
#include <node_api.h>
static napi_value answer(napi_env env, napi_callback_info info) {
  napi_value result; napi_create_int32(env, 42, &result); return result;
}
NAPI_MODULE_INIT() {
  napi_value function; napi_create_function(env, "answer", NAPI_AUTO_LENGTH, answer, NULL, &function); return function;
}
"""


def tree_name(number: int) -> str:
    """The name of one package of the tree; every fourth has a scope."""
    return f"@grove/leaf-{number}" if number % 4 == 3 else f"branch-{number}"


def needs(number: int) -> dict[str, str]:
    """What it depends on: a binary tree, so the first package brings all the others."""
    return {tree_name(below): "^1.0.0" for below in (2 * number + 1, 2 * number + 2) if below < TREE}


def tree_package(number: int) -> dict[str, str | bytes]:
    """The files of one package of the tree."""
    manifest: dict[str, Any] = {"name": tree_name(number), "version": "1.0.0", "dependencies": needs(number)}
    manifest |= tool(number)
    below = ", ".join(f"...require({json.dumps(other)})" for other in needs(number))
    return {
        "package.json": json.dumps(manifest),
        "index.js": f"#!/usr/bin/env node\nmodule.exports = [{number}, {below}];\n",
    }


def tool(number: int) -> dict[str, Any]:
    """Some packages bring a command."""
    return {"bin": {f"tool-{number}": "index.js"}} if number % 50 == 0 else {}


def others() -> dict[str, dict[str, str | bytes]]:
    """A package with a lifecycle script, and one that is compiled when it is installed."""
    scripts = {"postinstall": "node -e \"require('fs').writeFileSync('made.txt', process.env.npm_package_name)\""}
    lifecycle = {"name": "with-script", "version": "1.0.0", "scripts": scripts}
    scripts = {"install": "node-gyp rebuild"}
    addon = {"name": "with-addon", "version": "1.0.0", "main": "index.js", "gypfile": True, "scripts": scripts}
    return {
        "with-script": {"package.json": json.dumps(lifecycle), "index.js": ""},
        "with-addon": {
            "package.json": json.dumps(addon),
            "binding.gyp": _GYP,
            "addon.c": _ADDON,
            "index.js": "module.exports = require('./build/Release/addon.node');\n",
        },
    }


class Published:
    """One package as the registry has it."""

    def __init__(self, name: str, files: dict[str, str | bytes]) -> None:
        self.name = name
        self.data = tarball({f"package/{path}": text for path, text in files.items()})
        self.manifest: dict[str, Any] = json.loads(files["package.json"])
        self.path = f"{name}/-/{name.rpartition('/')[2]}-1.0.0.tgz"
        self.dist = {
            "tarball": f"https://{NODE_REGISTRY}/{self.path}",
            "integrity": "sha512-" + base64.b64encode(hashlib.sha512(self.data).digest()).decode(),
            "shasum": hashlib.sha1(self.data, usedforsecurity=False).hexdigest(),
        }

    def write(self, site: Path) -> None:
        """Lay down what the registry says of it, and its archive."""
        versions = {"1.0.0": self.manifest | {"dist": self.dist}}
        times = {"created": PUBLISHED, "modified": PUBLISHED, "1.0.0": PUBLISHED}
        about = {"name": self.name, "dist-tags": {"latest": "1.0.0"}, "versions": versions, "time": times}
        archive = site / self.path
        archive.parent.mkdir(parents=True, exist_ok=True)
        archive.write_bytes(self.data)
        (site / f"{self.name}.json").write_text(json.dumps(about))

    def locked(self) -> dict[str, Any]:
        """Its entry in a lock file."""
        kept = {name: self.manifest[name] for name in ("dependencies", "bin") if self.manifest.get(name)}
        return {"version": "1.0.0", "resolved": self.dist["tarball"], "integrity": self.dist["integrity"], **kept}


def project(tree: list[Published]) -> dict[str, str]:
    """A project that depends on the whole tree: its manifest and its lock file."""
    manifest = {"name": "demo", "version": "1.0.0", "dependencies": {tree[0].name: "^1.0.0"}}
    entries = {"": manifest, **{f"node_modules/{package.name}": package.locked() for package in tree}}
    lock = {"name": "demo", "version": "1.0.0", "lockfileVersion": 3, "requires": True, "packages": entries}
    return {"package.json": json.dumps(manifest), "package-lock.json": json.dumps(lock, indent=1)}


def headers(site: Path) -> None:
    """Pack the headers of this machine's node as nodejs.org does."""
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    for top in ("dist", "download/release"):
        place = site / top / version
        place.mkdir(parents=True)
        name = f"node-{version}-headers.tar.gz"
        transform = f"--transform=s,^,node-{version}/include/,"
        # What an addon in C needs; the headers of V8 and OpenSSL are ten times as much.
        words = [
            "tar",
            "-czf",
            str(place / name),
            "-C",
            str(INCLUDE.parent),
            transform,
            "--exclude=node/openssl",
            "node",
        ]
        subprocess.run(words, check=True)
        digest = hashlib.sha256((place / name).read_bytes()).hexdigest()
        (place / "SHASUMS256.txt").write_text(f"{digest}  {name}\n")


def build(sites: Path) -> None:
    """Lay the registry down, under both of its names, and the project beside it."""
    tree = [Published(tree_name(number), tree_package(number)) for number in range(TREE)]
    for package in [*tree, *(Published(name, files) for name, files in others().items())]:
        package.write(sites / NODE_REGISTRY)
    (sites / YARN_REGISTRY).symlink_to(NODE_REGISTRY)
    for name, text in project(tree).items():
        place = sites / "projects" / "npm"
        place.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    if INCLUDE.is_dir():
        headers(sites / NODE_HEADERS)
