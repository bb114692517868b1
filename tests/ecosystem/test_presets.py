"""The presets of toolchains: what they bring from the home, what they leave there, and that nothing is shared.

What their hosts are for is shown by the catalogue: installing works by preset alone, publishing is refused.
"""

from pathlib import Path
from typing import get_args

import pytest

from ringfence.policy.document import Ecosystem
from ringfence.policy.presets import PRESETS
from tests.ecosystem.bench import Bench
from tests.utility.confined import said

pytestmark = pytest.mark.require("bubblewrap", "userns", "overlay")

# What stands beside the toolchains in a home: credentials, and caches that a next run or the user would execute from.
PRIVATE: dict[Ecosystem, tuple[str, ...]] = {
    "python": (
        ".pypirc",
        ".cache/pip/x.whl",
        ".cache/uv/x.whl",
        ".cache/pypoetry/cache/x.whl",
        ".config/pypoetry/auth.toml",
        ".config/pip/pip.conf",
    ),
    "node": (".npmrc", ".npm/_cacache/x", ".yarnrc", ".local/share/pnpm/store/x", ".cache/node-gyp/x"),
    "rust": (".cargo/credentials.toml", ".cargo/registry/x.crate", ".cargo/config.toml", ".cargo/git/x"),
    "go": ("go/pkg/mod/x.go", ".cache/go-build/x", ".config/go/env"),
    "java": (".m2/settings.xml", ".m2/repository/x.jar", ".gradle/gradle.properties", ".gradle/caches/x.jar"),
    "ruby": (".gem/credentials", ".bundle/config", ".local/share/gem/x.gem"),
}


@pytest.fixture
def plain(open_path: Path) -> Bench:
    """A workspace and a home, without a network."""
    return Bench(open_path / "root", None, 100)


def brought(preset: Ecosystem) -> list[str]:
    """The paths in the home that a preset lets be read."""
    return [path.removeprefix("~/") for path, _ in PRESETS[preset].read if path.startswith("~/")]


@pytest.mark.parametrize("preset", get_args(Ecosystem))
def test_toolchains_in_the_home_run_and_are_read_only(preset: Ecosystem, plain: Bench) -> None:
    tools = {}
    for path in brought(preset):
        tools[path] = plain.home / path if path == ".cargo/env" else plain.home / path / "tool"
        tools[path].parent.mkdir(parents=True, exist_ok=True)
        tools[path].write_text(f"#!/bin/sh\necho from {path}\n")
        tools[path].chmod(0o755)
    state = plain.state()
    for path, tool in tools.items():
        script = '"$0"; if echo x >>"$0"; then exit 1; fi 2>/dev/null; if rm -f "$0"; then exit 1; fi 2>/dev/null'
        done = plain.run(["sh", "-c", script, str(tool)])
        assert (done.returncode, done.stdout.decode()) == (0, f"from {path}\n"), said(done)
    state.unchanged_but()


@pytest.mark.parametrize("preset", get_args(Ecosystem))
def test_credentials_and_caches_beside_them_stay_outside(preset: Ecosystem, plain: Bench) -> None:
    for path in PRIVATE[preset]:
        (plain.home / path).parent.mkdir(parents=True, exist_ok=True)
        (plain.home / path).write_text("TOP-SECRET")
    for path in brought(preset):  # also where the toolchain beside them can be read
        if not (plain.home / path).exists():
            (plain.home / path).mkdir(parents=True, exist_ok=True)
    state = plain.state()
    script = 'for path; do cat "$path"; mkdir -p "$(dirname "$path")"; echo planted >"$path"; done 2>&1; true'
    done = plain.run(
        ["sh", "-c", script, "sh", *(str(plain.home / path) for path in PRIVATE[preset])], ["--preset", preset]
    )
    assert done.returncode == 0 and b"TOP-SECRET" not in done.stdout, said(done)
    state.unchanged_but()


@pytest.mark.parametrize("preset", get_args(Ecosystem))
def test_variables_pass_and_none_of_them_makes_a_tool_load_code(preset: Ecosystem, plain: Bench) -> None:
    passed = {name: "utf-8" if "ENCODING" in name else "1" for name, _ in PRESETS[preset].variables}
    # PYTHONPATH is set as well: the program itself is found by it.
    loading = "PYTHONSTARTUP NODE_OPTIONS RUSTC_WRAPPER GOFLAGS JAVA_TOOL_OPTIONS RUBYOPT LD_PRELOAD BASH_ENV".split()
    plain.own = passed | dict.fromkeys(loading, "/dev/null")
    done = plain.run(["env"])
    found = dict(line.partition("=")[::2] for line in done.stdout.decode().splitlines())
    assert passed.items() <= found.items(), said(done)
    assert not {"PYTHONPATH", *loading} & found.keys()
