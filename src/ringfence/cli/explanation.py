"""What `ringfence explain` answers, as values: the same for people and for `--json`."""

import msgspec

USER_POLICY = "~/.config/ringfence/policy.toml"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One thing asked of a target.

    `status`: `yes`, `no`, `ask` where you are asked first, or `private` where the sandbox has something of its own in
    that place. `origin` is the place that decides (`file:line`, a preset, `default`), `rule` what stands there.
    """

    status: str
    reason: str
    origin: str
    rule: str = ""


class Remedy(msgspec.Struct, frozen=True, kw_only=True):
    """What would change the answer: `lines` of policy for `file`, or the same for one run."""

    why: str
    file: str = USER_POLICY
    lines: tuple[str, ...] = ()
    once: str = ""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything known of one target; `answers` by what was asked (`read`, `write`, `connect`, `seen`)."""

    kind: str
    target: str
    answers: dict[str, Answer]
    notes: tuple[str, ...] = ()
    remedies: tuple[Remedy, ...] = ()
