"""S0: the suite itself: an attack that is lost, or whose trace is given up, must be noticed."""

from tests.attacks.catalogue import attacks

FEWEST = 679
# Each has its reason in data. The number may only fall: a new attack of this kind needs a better observation first.
MOST_UNSEEN = 117


def test_no_attack_is_lost() -> None:
    assert len(attacks()) >= FEWEST


def test_what_nobody_sees_does_not_grow() -> None:
    unseen = [attack for attack in attacks() if attack.unseen]
    assert len(unseen) <= MOST_UNSEEN
    assert all(len(attack.unseen.split()) >= 4 for attack in unseen), "an unseen attack says why in a sentence"
