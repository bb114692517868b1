"""Files: every kind of change that a build or an editor makes works inside and arrives on the host."""

import pytest

from tests.utility.confined import Item, Place, carry_out, items


@pytest.mark.parametrize("item", items("files"), ids=lambda item: item.name)
def test_files(item: Item, place: Place) -> None:
    carry_out(item, place)
