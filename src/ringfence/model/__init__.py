"""The nouns that flow through ringfence, as frozen values.

`Action` (what is asked) -> `Decision` (verdict, reason, rule) -> `Plan` (what will be enforced, neutral of
any backend) -> `Launch` (how one backend does it) -> `Event` (what happened).

Every value here is frozen, slotted and keyword-only; none of these modules performs I/O. `HostPath` and
`GuestPath` are distinct types, so that a path on the host cannot be handed to code that expects a path in
the sandbox. Errors are grouped by who must act. Protocols that siblings meet through are in `ports`.
"""
