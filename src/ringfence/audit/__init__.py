"""What happened, kept so that nobody can quietly change it.

An `Event` becomes a *record*: one JSON line sealed by a hash over itself and its predecessor. Records stand in
`audit.jsonl` and, after rotation, in `audit-<first>-<last>.jsonl`; the *head* beside them notes the last one.

`chain` seals records and reads seals (pure), `files` names and opens what is on disk, `writer` appends; these three
are on the hot path and import nothing but built-in modules. `check` judges a sequence of lines (pure), `verify`
judges a directory, `read` shows records to people.

Nothing here ever repairs, rewrites or deletes a record, nor lets a run go on whose record could not be written.
"""
