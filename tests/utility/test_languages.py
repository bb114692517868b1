"""Tool chains: interpreters, compilers, package managers without a network, editors, servers on localhost."""

import os
import pwd
import subprocess
import sys

import pytest

from tests.utility.confined import TIMEOUT_S, Item, Place, carry_out, items, said


@pytest.mark.parametrize("item", items("languages"), ids=lambda item: item.name)
def test_languages(item: Item, place: Place) -> None:
    carry_out(item, place)


def test_pytest_of_a_virtual_environment(place: Place) -> None:
    place.host('cd ws; printf \'def test_one(tmp_path):\\n    (tmp_path / "f").write_text("x")\\n\' >test_one.py')
    readable = [word for prefix in {sys.prefix, sys.base_prefix} for word in ("--read", prefix)]
    done = place.run([sys.executable, "-m", "pytest", "-q", "test_one.py"], readable)
    assert done.returncode == 0, said(done)
    assert b"1 passed" in done.stdout


def rust_toolchain(place: Place) -> str:
    """Find the toolchain that this machine's `rustc` selects; skip where the account may not read it."""
    environment = os.environ | {"HOME": pwd.getpwuid(os.geteuid()).pw_dir}
    words = ["rustc", "--print", "sysroot"]
    found = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S)
    toolchain = found.stdout.strip()
    if not toolchain or place.on_host(["test", "-x", f"{toolchain}/bin/cargo"]).returncode != 0:
        pytest.skip("this account can reach no Rust toolchain")
    return toolchain


@pytest.mark.require("cargo", "rustc", "cc")
def test_cargo_builds_and_runs(place: Place) -> None:
    toolchain = rust_toolchain(place)
    script = f"PATH={toolchain}/bin:$PATH; cargo init -q --vcs none --name demo; cargo run -q --offline; cargo test -q"
    done = place.run(["sh", "-euc", script], ["--read", toolchain])
    assert done.returncode == 0, said(done)
    assert done.stdout.startswith(b"Hello, world!\n")
    assert (place.workspace / "target/debug/demo").is_file()
