"""The one error of the parsers in this package: input that has no meaning, or more than one."""


class Malformed(ValueError):  # noqa: N818 - an adjective: the input is malformed
    """Input is refused; `reason` is a short phrase that may be told to the contained side, `code` the denial's."""

    code = "bad-request"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Mismatch(Malformed):
    """Two parts of one request are well formed and name different hosts, ports or schemes."""

    code = "mismatch"
