"""Count the attacks, and those that leave nothing but the record of the launch: `python -m tests.attacks.catalogue`."""

import importlib
from pathlib import Path

from tests.attacks.attack import Attack


def attacks() -> list[Attack]:
    """Collect every attack of every file, as `attack.cases` parametrised them."""
    found = []
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        module = importlib.import_module(f"tests.attacks.{path.stem}")
        for function in vars(module).values():
            for marker in getattr(function, "pytestmark", ()):
                found += (
                    [value for value in marker.args[1] if isinstance(value, Attack)] if len(marker.args) > 1 else []
                )
    return found


if __name__ == "__main__":
    everything = attacks()
    unseen = [attack for attack in everything if attack.unseen]
    print(f"{len(everything)} attacks, {len(unseen)} of which only the record of the launch shows")
    for attack in unseen:
        print(f"  {attack.name}: {attack.unseen}")
