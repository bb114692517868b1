"""The one error of the parsers."""

from ringfence.network.malformed import Malformed, Mismatch


def test_it_carries_a_reason_and_a_code() -> None:
    assert isinstance(Malformed("why"), ValueError)
    assert (Malformed("why").reason, Malformed("why").code, str(Malformed("why"))) == ("why", "bad-request", "why")
    assert (Mismatch("why").reason, Mismatch("why").code) == ("why", "mismatch")
