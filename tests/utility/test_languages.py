"""Tool chains: interpreters, compilers, package managers without a network, editors, servers on localhost."""

import pytest

from tests.utility.confined import Item, Place, carry_out, items


@pytest.mark.parametrize("item", items("languages"), ids=lambda item: item.name)
def test_languages(item: Item, place: Place) -> None:
    carry_out(item, place)
