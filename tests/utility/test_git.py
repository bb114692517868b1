"""git, as people use it: everything from status to a linked worktree, with commits that arrive on the host."""

import pytest

from tests.utility.confined import Item, Place, carry_out, items


@pytest.mark.require("git")
@pytest.mark.parametrize("item", items("git"), ids=lambda item: item.name)
def test_git(item: Item, place: Place) -> None:
    carry_out(item, place)
