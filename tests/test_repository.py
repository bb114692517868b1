"""The repository's own habits: what its files may say, and what its documents must say of real things.

A document is checked as soon as it, or what it must describe, exists. The rules and their samples are in tests/house/.
"""

import importlib
import importlib.util
import os
from collections.abc import Iterator

import pytest

from tests.house import documents
from tests.house.sources import ROOT, nothing, python_files

FILES = documents.repository_files(ROOT)

# Files that may name a place on a developer's machine or a registry's host, and why.
MAY_NAME_PLACES: dict[str, str] = {
    "tests/data/permissions/differences.jsonl": "the corpus was measured in a project of that name, on no machine",
}
MAY_NAME_REGISTRIES: dict[str, str] = {
    "src/ringfence/policy/preset_hosts.py": "policy says which registries may be read; nothing is fetched from there",
    "tests/unit/policy/test_preset_hosts.py": "asks what policy says of them",
    "src/ringfence/secrets/credentials.py": "where a registry's own tokens may go",
    "tests/e2e/test_secrets.py": "the lab plays a registry, under its name, that an upload must not reach",
    "tests/e2e/test_secret_programs.py": "the same",
    "tests/data/presets.json": "what the presets are, held against their code",
    "tests/integration/lab/web.py": "the same",
    "tests/integration/lab/world.py": "the same",
    "tests/integration/test_network_lab.py": "the same",
}


def has(module: str) -> bool:
    """Tell whether `module` exists in this tree."""
    return (ROOT / "src" / module.replace(".", "/")).is_dir() or (
        ROOT / "src" / f"{module.replace('.', '/')}.py"
    ).is_file()


def reference() -> str:
    """Join every document that a user looks things up in."""
    names = [name for name in FILES if name in ("README.md", "SPECIFICATION.md") or name.startswith("docs/")]
    return "\n".join(
        (ROOT / name).read_text("utf-8") for name in names if name.endswith(".md") and "/decisions/" not in name
    )


def test_no_file_names_a_developers_machine() -> None:
    nothing(documents.mentions(ROOT, FILES, documents.MACHINE_PATHS, MAY_NAME_PLACES))


def test_no_file_names_a_registry_host() -> None:
    nothing(documents.mentions(ROOT, FILES, documents.REGISTRY_HOSTS, MAY_NAME_REGISTRIES))


@pytest.mark.parametrize("name", ["runtime", "dev", "build"])
def test_requirements_are_pinned_by_hash_and_name_no_index(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text("utf-8")
    nothing(documents.unpinned(text))
    assert documents.INDEX_OPTIONS.search(text) is None


def test_changelog_fragments_are_well_formed() -> None:
    nothing(documents.bad_fragments(ROOT))


def test_scripts_are_executable() -> None:
    scripts = [name for name in FILES if (ROOT / name).read_bytes()[:2] == b"#!"]
    assert ".ci/run" in scripts
    nothing([name for name in scripts if not os.access(ROOT / name, os.X_OK)])


def test_links_lead_somewhere() -> None:
    nothing(documents.broken_links(ROOT, FILES))


def test_every_promise_names_its_test() -> None:
    document = ROOT / "SPECIFICATION.md"
    if not document.is_file():
        pytest.skip("there is no SPECIFICATION.md yet")
    nothing(documents.unkept_promises(ROOT, document.read_text("utf-8")))


def test_every_threat_names_its_boundary_and_its_attack() -> None:
    document = ROOT / "docs/threats.md"
    if not document.is_file() and not (ROOT / "tests/attacks").is_dir():
        pytest.skip("there is neither docs/threats.md nor an attack yet")
    nothing(documents.unanswered_threats(ROOT, document.read_text("utf-8")))


def test_every_option_of_the_command_line_is_documented() -> None:
    if not has("ringfence.cli"):
        pytest.skip("there is no command line yet")
    options = documents.flags(python_files(ROOT, "src/ringfence/cli"))
    assert options
    nothing([options[name] for name in documents.unmentioned(options, reference())])


def test_every_command_is_documented() -> None:
    if not has("ringfence.cli"):
        pytest.skip("there is no command line yet")
    commands = documents.commands(python_files(ROOT, "src/ringfence/cli"))
    assert commands
    nothing(documents.unmentioned([f"ringfence {name}" for name in commands], reference()))


def test_every_event_kind_is_documented() -> None:
    if not has("ringfence.cli"):
        pytest.skip("there is no command line yet")
    from ringfence.model.event import EventKind

    nothing(documents.unmentioned([kind.value for kind in EventKind], reference()))


def test_every_exit_status_of_ours_is_documented() -> None:
    if not has("ringfence.cli"):
        pytest.skip("there is no command line yet")
    from ringfence.model import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    statuses = {str(kind.exit_status) for kind in kinds if issubclass(kind, errors.RingfenceError)} | {
        "126",
        "127",
        "128",
    }
    nothing(documents.unmentioned(sorted(statuses), reference()))


def settings(schema: object) -> Iterator[str]:
    """Yield the name of every property in a JSON Schema."""
    if isinstance(schema, dict):
        properties = schema.get("properties")
        yield from properties if isinstance(properties, dict) else ()
        for part in schema.values():
            yield from settings(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from settings(part)


def test_every_setting_of_a_policy_file_is_documented() -> None:
    if not has("ringfence.policy.schema") or not has("ringfence.cli"):
        pytest.skip("there are no policy files yet")
    names = set(settings(importlib.import_module("ringfence.policy.schema").json_schema()))
    assert "version" in names
    nothing(documents.unmentioned(sorted(names), reference()))
