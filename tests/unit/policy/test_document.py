"""Where each part of a policy was written."""

import pytest

from ringfence.policy.document import Document, KeyPath, Layer

LAYER = Layer(
    scope="user",
    document=Document(version=1),
    file="p.toml",
    lines={("network",): 3, ("network", "allow"): 5, ("network", "allow", 0): 6},
    spelled={("workspace",): "--workspace", ("env", "pass"): "--env", ("network", "allow", 1): "--allow"},
)


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (("network",), "p.toml:3"),
        (("network", "deny"), "p.toml:3"),
        (("network", "allow", 0), "p.toml:6"),
        (("network", "allow", 2), "p.toml:5"),
        (("network", "allow", 2, "host"), "p.toml:5"),
        (("network", "allow", 1), "--allow"),
        (("network", "allow", 1, "host"), "--allow"),
        (("workspace",), "--workspace"),
        (("workspace", "mode"), "--workspace"),
        (("env", "pass", 2), "--env"),
        (("limits", "time"), "p.toml"),
        ((), "p.toml"),
    ],
)
def test_a_place_falls_back_to_the_table_around_it(path: KeyPath, place: str) -> None:
    assert str(LAYER.source(*path)) == place
