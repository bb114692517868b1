"""What applies without any policy file: the built-in default and the presets, each entry with its reason.

Presets of ecosystems let toolchains be *read*, and apply to every run. Their hosts, and the presets of services, which
have nothing but hosts (`preset_hosts`), apply only where the operator names the preset. Caches are not shared: a cache
that one run can write and another run, or the user, executes from is a way to persist (threat: the next run). Tools
fill private caches in the private home.
No variable here makes a program load code: not `LD_*`, `PYTHONPATH`, `NODE_OPTIONS`, `BASH_ENV`, `RUSTFLAGS`,
`GOFLAGS` or `GIT_*`. `CARGO_HOME` and `GOPATH` stay out so that the tools use the private home.
"""

from typing import get_args

import msgspec

from ringfence.model.plan import Limits

from .agent_presets import AGENT_HOSTS, AGENT_READS, AGENT_VARIABLES, UNTESTED
from .document import (
    AuditTable,
    Document,
    Ecosystem,
    Env,
    Isolation,
    Layer,
    LimitsTable,
    Network,
    Pattern,
    PresetName,
    TrustTable,
    WorkspaceTable,
)
from .preset_entries import PresetHost
from .preset_hosts import HOSTS
from .secrets.presets import PRESET_SECRETS
from .secrets.tables import SecretTable


class Preset(msgspec.Struct, frozen=True, kw_only=True):
    """A named bundle: readable paths, passed variables, hosts and secrets, each with its reason.

    `untested` is one whose program the tests do not run. What a deployment pattern sets is in session/deployments.py.
    """

    read: tuple[tuple[str, str], ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    hosts: tuple[PresetHost, ...] = ()
    secrets: tuple[tuple[str, SecretTable], ...] = ()
    untested: bool = False


_CACHE = "its caches stay private to the run, because a shared writable cache is a way to persist"

_TOOLCHAINS: dict[PresetName, Preset] = {
    "python": Preset(
        read=(
            ("~/.pyenv", f"interpreters installed by pyenv; {_CACHE}"),
            ("~/.local/share/uv/python", f"interpreters installed by uv; {_CACHE}"),
            ("~/.local/share/uv/tools", "command-line tools installed by uv"),
            ("~/.local/pipx", "command-line tools installed by older pipx"),
            ("~/.local/share/pipx", "command-line tools installed by pipx"),
            ("~/.rye/py", "interpreters installed by rye"),
            ("~/.rye/shims", "the commands that select an interpreter of rye"),
            ("~/.local/bin", "commands installed by pip --user, uv and pipx"),
            (
                "~/.cache/pypoetry/virtualenvs",
                "environments that Poetry keeps outside projects; read-only, like all here",
            ),
            ("~/.local/share/virtualenvs", "environments that Pipenv keeps outside projects"),
            ("~/.virtualenvs", "environments of virtualenvwrapper"),
            # One literal path per minor version: nothing has to be listed in the home directory at launch.
            *(
                (
                    f"~/.local/lib/python3.{minor}",
                    "packages installed by pip --user; read-only, so nothing can be planted",
                )
                for minor in range(9, 16)
            ),
            ("~/miniconda3", "interpreters and environments of miniconda"),
            ("~/miniforge3", "interpreters and environments of miniforge"),
            ("~/anaconda3", "interpreters and environments of anaconda"),
        ),
        variables=(
            ("VIRTUAL_ENV", "names the active virtual environment"),
            ("CONDA_PREFIX", "names the active conda environment"),
            ("CONDA_DEFAULT_ENV", "names the active conda environment"),
            ("PYENV_ROOT", "where pyenv keeps its interpreters"),
            ("PYENV_VERSION", "which interpreter pyenv selects"),
            ("PYTHONDONTWRITEBYTECODE", "keeps bytecode out of the workspace"),
            ("PYTHONUNBUFFERED", "output appears as it is written"),
            ("PYTHONHASHSEED", "repeatable hashing in tests"),
            ("PYTHONUTF8", "text encoding"),
            ("PYTHONIOENCODING", "text encoding"),
        ),
    ),
    "node": Preset(
        read=(
            ("~/.nvm", f"Node versions installed by nvm; {_CACHE}"),
            ("~/.volta", "Node versions installed by volta"),
            ("~/.fnm", "Node versions installed by older fnm"),
            ("~/.local/share/fnm", "Node versions installed by fnm"),
            ("~/.local/share/mise/installs", "tools installed by mise"),
            ("~/.asdf", "tools installed by asdf"),
            ("~/.bun/bin", "the bun runtime"),
            ("~/.deno/bin", "the deno runtime"),
        ),
        variables=(
            ("NVM_DIR", "where nvm keeps its versions"),
            ("NVM_BIN", "which version nvm selected"),
            ("VOLTA_HOME", "where volta keeps its versions"),
            ("FNM_DIR", "where fnm keeps its versions"),
            ("NODE_ENV", "development or production behaviour"),
        ),
    ),
    "rust": Preset(
        read=(
            ("~/.rustup", f"toolchains installed by rustup; {_CACHE}"),
            ("~/.cargo/bin", "cargo and installed commands; never the directory above it, which holds credentials"),
            ("~/.cargo/env", "the file that login shells read to find cargo"),
        ),
        variables=(
            ("RUSTUP_HOME", "where rustup keeps its toolchains"),
            ("RUSTUP_TOOLCHAIN", "which toolchain rustup selects"),
            ("RUST_BACKTRACE", "backtraces on panics"),
            ("RUST_LOG", "log level"),
            ("CARGO_TERM_COLOR", "colours of cargo's output"),
        ),
    ),
    "go": Preset(
        read=(
            ("/usr/local/go", f"the Go toolchain; {_CACHE}"),
            ("~/go/bin", "commands installed by go install"),
            ("~/sdk", "Go toolchains installed by golang.org/dl"),
        ),
        variables=(
            ("GOTOOLCHAIN", "which toolchain go selects"),
            ("GOOS", "target system"),
            ("GOARCH", "target architecture"),
            ("CGO_ENABLED", "whether C is compiled"),
        ),
    ),
    "java": Preset(
        read=(
            ("~/.sdkman/candidates", f"JDKs and build tools installed by SDKMAN; {_CACHE}"),
            ("~/.jdks", "JDKs installed by an editor"),
        ),
        variables=(("JAVA_HOME", "which JDK is used"),),
    ),
    "ruby": Preset(
        read=(
            ("~/.rbenv", f"Ruby versions installed by rbenv; {_CACHE}"),
            ("~/.rubies", "Ruby versions installed by ruby-install"),
            ("~/.rvm", "Ruby versions and gems installed by RVM"),
        ),
        variables=(
            ("RBENV_ROOT", "where rbenv keeps its versions"),
            ("RBENV_VERSION", "which version rbenv selects"),
        ),
    ),
}

PRESETS: dict[PresetName, Preset] = {
    name: msgspec.structs.replace(_TOOLCHAINS.get(name, Preset()), hosts=hosts) for name, hosts in HOSTS.items()
}
PRESETS |= {
    name: Preset(read=AGENT_READS.get(name, ()), variables=AGENT_VARIABLES[name], hosts=hosts)
    for name, hosts in AGENT_HOSTS.items()
}
PRESETS |= {name: msgspec.structs.replace(PRESETS[name], secrets=secrets) for name, secrets in PRESET_SECRETS.items()}
PRESETS |= {name: msgspec.structs.replace(PRESETS[name], untested=True) for name in UNTESTED}
PRESETS |= {name: Preset() for name in get_args(Pattern)}

DEFAULT = Preset(
    variables=(
        ("PATH", "where commands are found; directories that are not in the view find nothing"),
        ("HOME", "the private home directory"),
        ("USER", "the user's name"),
        ("LOGNAME", "the user's name"),
        ("SHELL", "which shell tools start"),
        ("TERM", "terminal capabilities"),
        ("COLORTERM", "terminal colours"),
        ("COLUMNS", "width of the output"),
        ("LINES", "height of the output"),
        ("LANG", "language and encoding"),
        ("LANGUAGE", "language"),
        ("LC_*", "language and encoding"),
        ("TZ", "time zone"),
        ("TMPDIR", "the private /tmp"),
        ("EDITOR", "which editor tools start"),
        ("VISUAL", "which editor tools start"),
        ("PAGER", "which pager tools start"),
        ("NO_COLOR", "no colours"),
        ("FORCE_COLOR", "colours without a terminal"),
        ("CLICOLOR", "colours"),
        ("CLICOLOR_FORCE", "colours without a terminal"),
        ("CI", "non-interactive behaviour"),
        ("SOURCE_DATE_EPOCH", "repeatable builds"),
    )
)

_LIMITS = Limits()

# 64 MiB holds some hundred thousand records and is still read in a second by `log verify`.
_ROTATE_BYTES = 64 << 20

DEFAULT_LAYER = Layer(
    scope="default",
    document=Document(
        version=1,
        extends=get_args(Ecosystem),
        isolation=Isolation(tier="process", seccomp="default"),
        network=Network(unknown="deny", requests=0, bytes=0, ask_timeout=60, proxy_variables=True),
        env=Env(),
        limits=LimitsTable(
            processes=_LIMITS.processes,
            memory=_LIMITS.memory_bytes,
            cpu_time=_LIMITS.cpu_time_s,
            file_size=_LIMITS.file_size_bytes,
            open_files=_LIMITS.open_files,
            wall_time=_LIMITS.wall_time_s,
            tmp_size=_LIMITS.tmp_bytes,
            home_size=_LIMITS.home_bytes,
            run_size=_LIMITS.run_bytes,
            shm_size=_LIMITS.shm_bytes,
            workspace_size=_LIMITS.workspace_bytes,
        ),
        workspace=WorkspaceTable(mode="overlay", apply="exit"),
        trust=TrustTable(mode="off", only_pinned=False),
        audit=AuditTable(fsync="exit", rotate_size=_ROTATE_BYTES),
    ),
)
"""The lowest layer. It sets every single value, except that `network.mode` follows from what is allowed."""
