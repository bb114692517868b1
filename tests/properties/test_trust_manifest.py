"""The manifest of a checkout: independent of order, and of every byte that it covers."""

import random
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.trust import scan
from ringfence.trust.manifest import Found, Manifest, build

NAMES = st.sampled_from(
    ["CLAUDE.md", ".claude/a.json", ".claude/b", "sub/.envrc", "x/y/.mcp.json", ".git/hooks/run", ".env"]
)
CONTENTS = st.binary(max_size=40)
TREES = st.dictionaries(NAMES, CONTENTS, min_size=1)


def look(path: str, everything: bool) -> list[Found]:
    return []


def manifest_of(tree: dict[str, bytes]) -> Manifest:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place).resolve()
        (root / ".git").mkdir()
        (root / ".git/HEAD").write_text("ref: refs/heads/main\n")
        for name, content in tree.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
        return scan.examine(str(root))


@given(
    st.lists(
        st.builds(Found, path=st.text(max_size=5), kind=st.just("file"), digest=st.text(max_size=5)),
        unique_by=lambda one: one.path,
    ),
    st.randoms(),
)
def test_the_order_of_what_was_found_plays_no_part(found: list[Found], order: random.Random) -> None:
    shuffled = list(found)
    order.shuffle(shuffled)
    assert build(found, [], look) == build(shuffled, [], look)


@settings(max_examples=60, deadline=None)
@given(TREES)
def test_a_second_look_finds_the_same(tree: dict[str, bytes]) -> None:
    assert manifest_of(tree).digest == manifest_of(dict(reversed(tree.items()))).digest


@settings(max_examples=80, deadline=None)
@given(TREES, st.data())
def test_any_other_byte_is_another_digest(tree: dict[str, bytes], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(tree)))
    content = data.draw(CONTENTS.filter(lambda content: content != tree[name]))
    assert manifest_of(tree).digest != manifest_of(tree | {name: content}).digest


@settings(max_examples=60, deadline=None)
@given(TREES, NAMES, CONTENTS)
def test_any_further_surface_is_another_digest(tree: dict[str, bytes], name: str, content: bytes) -> None:
    if name not in tree:
        assert manifest_of(tree).digest != manifest_of(tree | {name: content}).digest


@settings(max_examples=60, deadline=None)
@given(TREES)
def test_everything_that_counts_is_hidden(tree: dict[str, bytes]) -> None:
    manifest = manifest_of(tree)
    assert {name for name in tree if not any(f"{name}/".startswith(f"{top}/") for top in manifest.hidden)} == set()


@given(st.text(max_size=200))
def test_no_text_breaks_the_search_for_what_it_calls(text: str) -> None:
    for path, loader in (
        ("x.json", "agent"),
        ("CLAUDE.md", "agent"),
        (".envrc", "directory"),
        (".git/config", "version-control"),
    ):
        surface = Found(path=path, kind="file", digest="x", text=text, loader=loader, top=path)
        assert build([surface], [], look).entries[0].text == ""
