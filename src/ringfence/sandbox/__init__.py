"""The boundary: a `Plan` and the host's facts in, a running, contained process out.

A backend compiles a Plan into a `Launch` (pure), `launch` carries it out, `seccomp` generates the system-call
filter. Nothing in here decides what is allowed; that is the planner's. A promise that cannot be kept is refused
with a hint, never degraded.
"""
