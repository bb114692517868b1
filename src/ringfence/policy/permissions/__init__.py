"""Permission rules: what an agent asks to do, decided before it is done.

`claude_settings` reads settings files -> `scopes` merges them -> `Settings`; `engine.decide(settings, call, facts)` ->
`Decision`. A shell command becomes a `Script` of simple `Command`s: tree-sitter reads it (`shell_parse`), bashkit reads
it too (`second_reading`), and where they differ, or nothing certain can be said, it is asked about. `wrappers` takes
`timeout 5` and the like off, `launched` finds the commands that another command starts, `read_only` and `operands` say
what a command does to which files, `paths` and `hosts` hold what rules say about these, and `modes` is the only place
that turns ASK into ALLOW.

Verdicts come in the order deny, ask, allow; the first that speaks counts. Rules advise, the boundary enforces: what no
reading of the text can tell (a script file, base64, a copied program) is left to the boundary, and the reason says so.

Must never: perform I/O (the caller gathers `PathFacts`), skip a rule it cannot read, or allow because something could
not be parsed, resolved or evaluated.
"""
