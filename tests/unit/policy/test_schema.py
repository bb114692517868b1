"""What is published of a policy file's types."""

import json
from pathlib import Path

import pytest

from ringfence.policy.document import Document
from ringfence.policy.parse import parse
from ringfence.policy.presets import PRESETS
from ringfence.policy.schema import json_schema, reference
from ringfence.policy.template import render

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests/data/policy-schema.json"
MANUAL = (ROOT / "docs/policy.md").read_text()


def test_the_schema_is_the_golden_one() -> None:
    assert json.dumps(json_schema(), indent=2, sort_keys=True) + "\n" == GOLDEN.read_text()


def test_every_key_is_described_and_closed() -> None:
    for definition in json_schema()["$defs"].values():
        assert definition["additionalProperties"] is False
        assert all(field.get("description") for field in definition["properties"].values())


def test_the_presets_of_the_type_are_those_there_are() -> None:
    enum = json_schema()["$defs"]["Document"]["properties"]["extends"]["items"]["enum"]
    assert sorted(enum) == sorted(PRESETS)


def test_the_manual_holds_the_reference_as_generated() -> None:
    assert MANUAL.endswith(reference())


def test_every_key_is_in_the_manual() -> None:
    keys = {key for definition in json_schema()["$defs"].values() for key in definition["properties"]}
    assert [key for key in keys if f"`{key}`" not in MANUAL and f"`[{key}]`" not in MANUAL] == []


def test_the_manual_s_example_is_valid() -> None:
    example = MANUAL.split("```toml\n")[1].split("```")[0]
    assert parse(example, file="docs/policy.md", scope="user").document != Document(version=1)


@pytest.mark.parametrize("key", ["memory", "tmp-size"])
def test_sizes_are_shown_in_units(key: str) -> None:
    line = next(line for line in reference().splitlines() if line.startswith(f"| `{key}`"))
    assert 'GiB"' in line


@pytest.mark.parametrize("detected", [[], ["go"], ["rust", "python"], ["python", "node", "rust", "go"]])
def test_the_template_parses_and_names_what_was_detected(detected: list[str]) -> None:
    document = parse(render(detected), file="ringfence.toml", scope="project").document  # type: ignore[arg-type]  # a list of names
    assert sorted(document.extends or ()) == sorted(detected)
