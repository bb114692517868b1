"""The command line: one file per command, nothing imported before it is needed.

`entry` finds the command and turns errors into one line, a hint and an exit status.
"""
