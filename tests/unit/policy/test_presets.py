"""What presets and the built-in default give, written down entry by entry.

tests/data/presets.json holds every path, variable, request and secret without the reasons: a change of the tables is a
change of that file, where it reads as what an operator gets. `PYTHONPATH=src:. python THIS` writes it anew.
"""

import json
from pathlib import Path

import msgspec

from ringfence.policy.preset_entries import PresetHost
from ringfence.policy.presets import DEFAULT, DEFAULT_LAYER, PRESETS, Preset
from ringfence.policy.secrets.presets import FOLLOWING, MODELS

DATA = Path(__file__).parent.parent.parent / "data/presets.json"


def request(host: PresetHost) -> str:
    ports = " ".join(map(str, host.ports))
    return " ".join([host.verdict, ",".join(host.methods) or "*", f"{host.host}:{ports}", *host.paths])


def content(preset: Preset) -> dict[str, object]:
    """What a preset gives, without reasons."""
    secrets = {name: msgspec.to_builtins(table) for name, table in preset.secrets}
    for table in secrets.values():
        table.pop("reason")
    return {
        "read": [path for path, _ in preset.read],
        "variables": [name for name, _ in preset.variables],
        "hosts": [request(host) for host in preset.hosts],
        "secrets": secrets,
        "untested": preset.untested,
    }


def everything() -> dict[str, object]:
    return {
        "presets": {name: content(preset) for name, preset in PRESETS.items()},
        "default": content(DEFAULT),
        "layer": msgspec.to_builtins(DEFAULT_LAYER.document),
        "models": msgspec.to_builtins(MODELS),
        "following": msgspec.to_builtins(FOLLOWING),
    }


def test_each_preset_gives_what_is_written_down() -> None:
    assert json.loads(json.dumps(everything())) == json.loads(DATA.read_text(encoding="utf-8"))


def test_every_entry_has_a_reason() -> None:
    for preset in (*PRESETS.values(), DEFAULT):
        reasons = [reason for _, reason in (*preset.read, *preset.variables)] + [host.reason for host in preset.hosts]
        assert all(reason.strip() for reason in reasons)
        assert all(table.reason for _, table in preset.secrets)


if __name__ == "__main__":
    DATA.write_text(json.dumps(everything(), indent=1) + "\n", encoding="utf-8")
