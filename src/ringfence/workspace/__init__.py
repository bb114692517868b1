"""The copy-on-write workspace: what a run changed, what of it may reach the host, and the way back.

Nouns: an *upper layer* (everything a run wrote, attacker controlled), the *lower layer* (the host's workspace), a
`Change` (one path of the difference), a `Reviewed` change (allowed, or held with a code and a sentence), a run's
*journal* and its *undo* directory.

`overlay.changes(upper, lower)` -> `filter.review(changes, rules=...)` -> `apply.apply(run, reviewed)` -> results per
path; `rollback.rollback(run)` puts the host back. `recovery` repairs what a killed apply left, `runs` keeps the
directories, `layout` creates one on the hot path, `text` prints a difference.

INVARIANT: nothing here resolves a path through a symbolic link below the workspace or below an upper layer, and nothing
on the host is replaced or removed before it can be put back.
"""
