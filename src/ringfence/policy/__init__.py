"""Rule text to decisions: what a run may read, write and take from the environment, and on whose word.

Text -> `parse` -> `Layer` (a `Document`, with the line of every key) -> `layers.merge` -> `Policy` (what is
in force, each value with its origin) -> `evaluate` -> `Decision`. `patterns` gives path rules their meaning
and is the one matcher; `presets` holds what applies without any file; `schema` and `template` publish the
same types as JSON Schema, reference and starting point.

Layers in falling precedence: managed, cli, user, project, then the built-in default. A scalar is taken from
the highest layer that sets it; denials of all layers accumulate and beat every allowance; a project's file
can only tighten, and one that tries to loosen is an error.

Must never: perform I/O, follow a symlink (the caller asks about the resolved path as well), ignore a key it
does not know, or loosen because something could not be read or evaluated.
"""
