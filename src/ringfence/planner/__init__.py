"""Policy + workspace + host facts -> Plan, without any effect.

`wanted` says which host paths must be looked at; `build` turns what was found there into a Plan: mounts,
environment, limits, identity. The same inputs give the same Plan, so `ringfence plan`, `explain`, the launch
cache and golden tests need no sandbox. Nothing here reads a file, a clock or the environment.
"""
