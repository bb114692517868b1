"""Files: every kind of change that a build or an editor makes works inside and arrives on the host."""

import os

import pytest

from tests.utility.confined import Item, Place, carry_out, items, said


@pytest.mark.parametrize("item", items("files"), ids=lambda item: item.name)
def test_files(item: Item, place: Place) -> None:
    carry_out(item, place)


@pytest.mark.require("root")
def test_a_foreign_repository_above_is_not_the_workspace(place: Place) -> None:
    foreign = place.root / ".git"
    foreign.mkdir()
    os.chown(foreign, 65534, 65534)
    (place.root / "beside").write_text("not for the sandbox")
    done = place.run(["sh", "-euc", "test ! -e ../beside; echo x >new"])
    assert done.returncode == 0, said(done)
    assert (place.workspace / "new").is_file()
