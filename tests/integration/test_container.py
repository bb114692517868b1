"""deploy/Dockerfile, built and run with podman: an ordinary user, and nothing leaves but by the proxy's decision."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import paths, requirements
from tests.house.sources import ROOT
from tests.integration import container as containers
from tests.integration.container import Container, Engine
from tests.integration.lab.models import SCENARIO
from tests.lab import Lab

built = [
    pytest.mark.require("root", "network-lab", "podman", "runc", "mmdebstrap"),
    pytest.mark.timeout(900),  # the first of them makes a Debian and builds the image
]
KEY = "sk-ant-api03-lab-key-lab-key-lab-key"
ADDRESSES = ("198.51.100.10", "11.22.33.10", "169.254.169.254", "10.1.2.3")
PROBE = f"""
import socket
for kind, port in ((socket.SOCK_DGRAM, 53), (socket.SOCK_STREAM, 22), (socket.SOCK_STREAM, 443)):
    for address in {ADDRESSES}:
        with socket.socket(socket.AF_INET, kind) as tried:
            tried.settimeout(1)
            try:
                tried.connect((address, port))
                tried.send(bytes(12) + b"\\x01x\\x00\\x00\\x01\\x00\\x01")
            except OSError:
                pass
"""


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Give podman with the image, once for all workers."""
    for name in ("root", "podman", "runc", "mmdebstrap"):
        requirements.require(name)
    base = tmp_path_factory.getbasetemp()
    with containers.shared((base.parent if base.name.startswith("popen-") else base) / "containers") as shared:
        yield shared


@pytest.fixture
def container(engine: Engine, lab: Lab, open_path: Path) -> Container:
    """Give the image's containers, in the lab."""
    workspace = open_path / "workspace"
    workspace.mkdir()
    return Container(engine, lab, workspace)


class TestBuilt:
    """What needs an image."""

    pytestmark = built

    def test_whoever_it_starts_is_an_ordinary_user_inside_the_boundary(self, container: Container) -> None:
        script = "id -u; id -un; grep -h ^Cap /proc/self/status; grep ^NoNewPrivs /proc/self/status; hostname"
        done = container("sh", "-c", script)
        assert done.returncode == 0, done.stderr
        uid, user, *capabilities, privileges, host = done.stdout.split("\n")[:-1]
        assert (uid, user, host) == ("1000", "agent", "ringfence")
        assert {line.split()[1] for line in capabilities} == {"0" * 16}
        assert privileges.split() == ["NoNewPrivs:", "1"]

    def test_doctor_finds_all_of_the_boundary(self, container: Container) -> None:
        done = container("ringfence", "doctor", "--json")
        assert done.returncode == 0, done.stdout
        status = {finding["name"]: finding["status"] for finding in json.loads(done.stdout)["findings"]}
        assert {status[name] for name in ("user namespaces", "overlay", "seccomp", "network")} == {"ok"}

    def test_no_packet_leaves_that_leaves_a_plain_container(self, container: Container) -> None:
        container.write("probe.py", PROBE)
        mark = container.lab.mark()
        beside = container("/workspace/probe.py", options=[*container.engine.let, "--entrypoint=python3"])
        assert beside.returncode == 0, beside.stderr
        sent = {(address, port) for address in ADDRESSES for port in (53, 22, 443)}
        # Nothing of the lab's answers some of them, so it may not have seen them yet.
        assert paths.wait_until(
            lambda: {(each["address"], each["port"]) for each in container.lab.since(mark, "flow")} == sent
        )
        mark = container.lab.mark()
        inside = container("python3", "probe.py")
        assert inside.returncode == 0, inside.stderr
        assert container.lab.since(mark, "flow") == []

    def test_an_allowed_host_is_reached_and_nothing_beside_it(self, container: Container) -> None:
        container.write("probe.py", f"{PROBE}\nimport urllib.request\nprint(urllib.request.urlopen(URL).status)\n")
        script = "import runpy; runpy.run_path('probe.py', {'URL': 'https://www.public.example.net/hello'})"
        mark = container.lab.mark()
        options = {"RINGFENCE_OPTIONS": "--allow www.public.example.net"}
        done = container("python3", "-c", script, environment=options)
        assert (done.returncode, done.stdout) == (0, "200\n"), done.stderr
        assert [entry["path"] for entry in container.lab.since(mark, "http")] == ["/hello"]
        assert {entry["port"] for entry in container.lab.since(mark, "flow")} == {53, 443}  # the proxy's own question
        assert {entry["name"] for entry in container.lab.since(mark, "dns")} == {"www.public.example.net"}

    def test_an_agent_that_asks_nothing_works_and_reaches_its_model_alone(self, container: Container) -> None:
        requirements.require("claude")
        program = Path(shutil.which("claude") or "").resolve()
        turns = [[{"tool": "Bash", "input": {"command": "echo done > made; curl -m 5 https://evil.example.com"}}]]
        (container.lab.place / SCENARIO).write_text(json.dumps({"turns": turns}))
        mark = container.lab.mark()
        done = container(
            *("claude", "--dangerously-skip-permissions", "-p", "make it"),
            options=[*container.engine.let, f"--volume={program}:/usr/local/bin/claude:ro"],
            environment={"ANTHROPIC_API_KEY": KEY},
        )
        assert (done.returncode, done.stdout) == (0, "DONE\n"), done.stderr
        assert (container.workspace / "made").read_text() == "done\n"
        assert {entry["host"] for entry in container.lab.since(mark, "http")} == {"api.anthropic.com"}
        assert {entry["name"] for entry in container.lab.since(mark, "dns")} == {"api.anthropic.com"}

    @pytest.mark.parametrize(
        ("options", "said", "remedy"),
        [
            ((), "refuses a system call", "seccomp=unconfined"),
            (("--security-opt=seccomp=unconfined",), "masks parts of /proc", "systempaths=unconfined"),
        ],
    )
    def test_what_the_engine_does_not_let_is_named_with_its_setting(
        self, container: Container, options: tuple[str, ...], said: str, remedy: str
    ) -> None:
        done = container("true", options=options)
        assert done.returncode == 3
        *_, message, hint = done.stderr.splitlines()
        assert said in message
        assert remedy in hint
        assert f"--security-opt={remedy}" in (ROOT / "docs/containers.md").read_text()

    def test_a_container_that_cannot_be_written_to_does(self, container: Container) -> None:
        done = container("sh", "-c", "echo 1 > made", options=[*container.engine.let, "--read-only"])
        assert done.returncode == 0, done.stderr
        assert (container.workspace / "made").exists()


def test_the_image_is_pinned_and_ends_as_an_ordinary_user() -> None:
    lines = (ROOT / "deploy/Dockerfile").read_text().splitlines()
    assert [line for line in lines if re.fullmatch(r"ARG BASE=\S+@sha256:[0-9a-f]{64}", line)]
    assert {line.split()[1] for line in lines if line.startswith("FROM ")} == {"${BASE}"}
    users = [line for line in lines if line.startswith("USER ")]
    assert users == ["USER agent"]
    assert lines.index(users[0]) > max(number for number, line in enumerate(lines) if line.startswith("RUN "))


def test_every_file_that_is_copied_is_in_the_context() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    wanted = {line[1:] for line in ignored if line.startswith("!")}
    assert ignored[0] == "*"
    assert all((ROOT / name).exists() for name in wanted)
    copied = re.findall(r"^COPY (?!--from)(?:--\S+ )*(\S+) ", (ROOT / "deploy/Dockerfile").read_text(), re.M)
    assert copied == ["requirements", ".", "deploy/enter"]
    assert {"requirements", "deploy/enter", "src", "pyproject.toml", "scripts/ringfence", "scripts/native"} <= wanted


def test_the_devcontainer_is_of_that_image_and_its_terminals_are_inside() -> None:
    text = (ROOT / ".devcontainer/devcontainer.json").read_text()
    found = json.loads("\n".join(line for line in text.splitlines() if not line.lstrip().startswith("//")))
    assert (ROOT / ".devcontainer" / found["build"]["dockerfile"]).samefile(ROOT / "deploy/Dockerfile")
    assert found["remoteUser"] == "agent"
    documented = (ROOT / "docs/containers.md").read_text()
    assert all(option in documented for option in found["runArgs"])
    settings = found["customizations"]["vscode"]["settings"]
    default = settings["terminal.integrated.defaultProfile.linux"]
    assert settings["terminal.integrated.profiles.linux"][default] == {"path": "ringfence", "args": ["shell"]}
