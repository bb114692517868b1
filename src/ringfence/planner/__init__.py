"""Policy + workspace + host facts -> Plan, without any effect.

`build.wanted`, `allowances`, `missing` and `denials` say, step by step, which host paths must be looked at and which
directories searched; `build.build` turns what was found there into a Plan: mounts, environment, limits, identity.
`view.reach` answers from a Plan alone what can be read and written at a path, and which line says so. The same inputs
give the same Plan, so `ringfence plan`, `explain`, the launch cache and golden tests need no sandbox. Nothing here
reads a file, a clock or the environment.
"""
