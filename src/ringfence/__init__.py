"""ringfence contains AI coding agents, and any other command, with the operating system's own means."""

__version__ = "0.1.0"
