"""Paths, typed by the side of the boundary on which they have a meaning."""

from typing import NewType

HostPath = NewType("HostPath", str)
"""An absolute, normalised path in the host's mount namespace."""

GuestPath = NewType("GuestPath", str)
"""An absolute, normalised path in the sandbox's mount namespace."""
