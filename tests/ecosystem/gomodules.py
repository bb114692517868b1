"""A proxy of Go modules, and the checksums that a `go.sum` of a project holds.

Nobody but its owner can sign for the checksum database, so what is not in `go.sum` must be fetched without it.
"""

import base64
import hashlib
from pathlib import Path

from tests.ecosystem.archives import zipped
from tests.integration.lab.world import GO_PROXY

VERSION = "v1.0.0"
_MODULES = {
    "example.com/demo/leaf": ("", "package leaf\n\nfunc Answer() int { return 42 }\n"),
    "example.com/demo/top": (
        "\nrequire example.com/demo/leaf v1.0.0\n",
        'package top\n\nimport "example.com/demo/leaf"\n\nfunc Answer() int { return leaf.Answer() }\n',
    ),
}


def summed(files: dict[str, str]) -> str:
    """Give the `h1:` sum of files (golang.org/x/mod/sumdb/dirhash, Hash1)."""
    lines = (f"{hashlib.sha256(text.encode()).hexdigest()}  {name}\n" for name, text in sorted(files.items()))
    return "h1:" + base64.b64encode(hashlib.sha256("".join(lines).encode()).digest()).decode()


def build(sites: Path) -> None:
    """Lay the modules down, and a `go.sum` beside them."""
    sums = []
    for module, (needs, text) in _MODULES.items():
        manifest = f"module {module}\n\ngo 1.19\n{needs}"
        package = module.rpartition("/")[2]
        files = {f"{module}@{VERSION}/go.mod": manifest, f"{module}@{VERSION}/{package}.go": text}
        place = sites / GO_PROXY / module / "@v"
        place.mkdir(parents=True)
        (place / "list").write_text(f"{VERSION}\n")
        (place / f"{VERSION}.info").write_text(f'{{"Version": "{VERSION}", "Time": "2020-01-01T00:00:00Z"}}')
        (place / f"{VERSION}.mod").write_text(manifest)
        (place / f"{VERSION}.zip").write_bytes(zipped(files))
        sums += [f"{module} {VERSION} {summed(files)}", f"{module} {VERSION}/go.mod {summed({'go.mod': manifest})}"]
    project = sites / "projects" / "go"
    project.mkdir(parents=True)
    (project / "go.sum").write_text("\n".join(sums) + "\n")
    (project / "go.mod").write_text(
        "module example.com/app\n\ngo 1.19\n\nrequire (\n\texample.com/demo/top v1.0.0\n"
        "\texample.com/demo/leaf v1.0.0 // indirect\n)\n"
    )
