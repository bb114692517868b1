"""A registry of crates: the sparse index and the archives."""

import hashlib
import json
from pathlib import Path

from tests.ecosystem.archives import tarball
from tests.integration.lab.world import CRATE_API, CRATE_FILES, CRATE_INDEX

_CRATES = {
    "demo-leaf": ({}, "pub fn answer() -> i32 { 42 }\n"),
    "demo-top": ({"demo-leaf": "1"}, "pub fn answer() -> i32 { demo_leaf::answer() }\n"),
}
_SCRIPT = 'fn main() { println!("cargo:rustc-env=MADE={}", std::env::var("OUT_DIR").unwrap()); }\n'


def build(sites: Path) -> None:
    """Lay the index and the archives down; one of the crates has a build script."""
    write(
        sites / CRATE_INDEX / "config.json",
        json.dumps({"dl": f"https://{CRATE_FILES}/crates", "api": f"https://{CRATE_API}"}),
    )
    for name, (needs, text) in _CRATES.items():
        lines = [f'[package]\nname = "{name}"\nversion = "1.0.0"\nedition = "2021"\n[dependencies]\n']
        lines += [f'{other} = "{version}"\n' for other, version in needs.items()]
        top = f"{name}-1.0.0"
        files = {f"{top}/Cargo.toml": "".join(lines), f"{top}/src/lib.rs": text, f"{top}/build.rs": _SCRIPT}
        data = tarball(files)
        place = sites / CRATE_FILES / "crates" / name / "1.0.0" / "download"
        place.parent.mkdir(parents=True)
        place.write_bytes(data)
        kept: dict[str, object] = {
            "optional": False,
            "default_features": True,
            "target": None,
            "kind": "normal",
            "features": [],
        }
        entry = {
            "name": name,
            "vers": "1.0.0",
            "features": {},
            "yanked": False,
            "deps": [{"name": other, "req": f"^{version}", **kept} for other, version in needs.items()],
            "cksum": hashlib.sha256(data).hexdigest(),
        }
        write(sites / CRATE_INDEX / name[:2] / name[2:4] / name, json.dumps(entry) + "\n")


def write(path: Path, text: str) -> None:
    """Write a file and the directories above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
