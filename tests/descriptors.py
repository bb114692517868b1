"""What this process has open, for tests of what is left behind.

Compare the sets, and ask only that nothing came: what an earlier test has left is given back at any time.
"""

import os


def open_descriptors() -> set[int]:
    """The descriptors of this process; that of the listing itself is gone again."""
    return {int(name) for name in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{name}")}
