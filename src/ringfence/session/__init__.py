"""One run from request to record: the only place where the sibling packages meet.

`prepare` (policy files -> Policy -> Plan -> launch artefact) is slow and cached by `cache`; `run` carries an
artefact out and is what the command line, the SDK and the supervisor share. `wiring` chooses backend, audit
and workspace. It must never decide: what is allowed stands in the Plan.
"""
