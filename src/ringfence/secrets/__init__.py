"""Secrets: where values are read from, what stands for them inside, and what may become of either on the wire.

In flow `model.secrets.Secrets` and the values of its sources; out flow placeholders, and judgements on requests and
answers (`model.passage`): a value is put in where an injection says so, and taken out of whatever comes back.

It speaks to nobody: bytes are handed to it and taken from it by the process that keeps the values (session/), which
alone imports it. It must never write a value anywhere, put one into an error or a record, or let one pass in either
direction in any form that encodings.py lists.
"""
