"""Every attack needs the boundary; each is made a test by `attack.cases`."""

import os
from collections.abc import Callable

import pytest

from tests.attacks import keeping
from tests.attacks.attack import Attack, check
from tests.attacks.crossing import settle
from tests.lab import Lab
from tests.requirements import require


@pytest.fixture
def carry_out() -> Callable[[Attack], None]:
    """Give the judge: `carry_out(attack)`."""
    require("bubblewrap", "overlay")
    return lambda attack: check(attack, root=os.geteuid() == 0)


@pytest.fixture
def carry_out_in_lab(lab: Lab) -> Callable[[Attack], None]:
    """Give the judge of attacks on the network: `carry_out_in_lab(attack)`."""
    require("bubblewrap", "overlay")
    settle(lab)
    return lambda attack: check(attack, root=os.geteuid() == 0, lab=lab)


@pytest.fixture
def carry_out_kept(lab: Lab) -> Callable[[Attack], None]:
    """Give the judge of attacks on kept secrets: `carry_out_kept(attack)`."""
    require("bubblewrap", "overlay")
    settle(lab)
    return lambda attack: keeping.carry_out(attack, lab)
