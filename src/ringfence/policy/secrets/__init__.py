"""Secrets in policy: the tables `[secrets.NAME]`, `[[secret-files]]` and `[leaks]` to `model.secrets.Secrets`.

In go the tables of all layers, the secrets of presets and the egress in force; out comes what one run is promised, or
an error with place and remedy. No value of a secret is ever read here, or anywhere in a pure package: only where it
would be found. A project's policy defines nothing here; it can only make `[leaks]` tighter.
"""
