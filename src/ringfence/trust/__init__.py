"""What a checkout can configure, and who said that it may.

`surfaces` knows the files that run code or steer an agent without being asked for; `scan` finds those of one checkout
and reads them, strictly bounded; `manifest` makes of them one digest, together with the scripts they call; `store`
keeps the user's decisions, each about one digest at one place, outside of any workspace.

INVARIANT: a path, a git root or a name never carries trust: a decision counts only for the digest it was made about
(tests/attacks/test_t2_trust.py). Nothing here runs, follows or interprets what it reads beyond what the modules say.
"""
