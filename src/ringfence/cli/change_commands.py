"""The commands about what runs have changed, as data."""

from .command import Command
from .run_options import DIRECTORY, JSON, Option, switch

CHANGE_COMMANDS = (
    Command(
        name="runs",
        summary="list the runs whose changes are kept",
        usage=("ringfence runs [--all] [--json] [-C DIR]",),
        options=(switch("--all", meaning="of every workspace, not only this one"), JSON, DIRECTORY),
        examples=(("ringfence runs", "the runs of this workspace, oldest first"),),
    ),
    Command(
        name="diff",
        summary="show what a run changed",
        usage=("ringfence diff [RUN] [--stat] [--json] [-C DIR]",),
        details=("RUN is the latest of this workspace if left out; a beginning that fits only one run is enough.",),
        options=(switch("--stat", meaning="only one line per path"), JSON, DIRECTORY),
        arguments=(0, 1),
        takes="run",
        examples=(("ringfence diff --stat", "the latest run's changes at a glance"),),
    ),
    Command(
        name="apply",
        summary="bring a run's changes into the workspace",
        usage=("ringfence apply [RUN] [PATH...] [--held PATH]... [--overwrite PATH]... [--json] [-C DIR]",),
        details=(
            "Without PATH everything that is not held back. A path that the host changed in the meantime is left",
            "alone and reported: exit status 1; --overwrite with its name takes the run's version all the same, and",
            "`rollback` brings the host's back. What is held back needs --held with its name.",
        ),
        options=(
            Option(names=("--held",), value="PATH", meaning="let PATH through, which was held back (repeatable)"),
            Option(
                names=("--overwrite",), value="PATH", meaning="replace the host's later version of PATH (repeatable)"
            ),
            JSON,
            DIRECTORY,
        ),
        arguments=(0, -1),
        takes="run",
        examples=(
            ("ringfence apply", "everything that may be applied of the latest run"),
            ("ringfence apply --held .github/workflows/ci.yml", "after you have read it"),
        ),
    ),
    Command(
        name="discard",
        summary="throw a run's changes away",
        usage=("ringfence discard RUN [--json] [-C DIR]",),
        options=(JSON, DIRECTORY),
        arguments=(1, 1),
        takes="run",
        examples=(("ringfence discard 20250131-2359", "a beginning is enough"),),
    ),
    Command(
        name="rollback",
        summary="put the workspace back as it was before a run was applied",
        usage=("ringfence rollback RUN [--json] [-C DIR]",),
        details=("What was changed on the host after the apply is left alone and reported: exit status 1.",),
        options=(JSON, DIRECTORY),
        arguments=(1, 1),
        takes="run",
        examples=(("ringfence rollback 20250131-2359", "a beginning is enough"),),
    ),
    Command(
        name="snapshot",
        summary="keep a copy of what a run has changed so far",
        usage=("ringfence snapshot [RUN] [--name NAME] [--json] [-C DIR]",),
        details=(
            "The run may still be going on. The copy can be looked at, applied, rolled back and discarded like a run,",
            "under its whole name. What the workspace itself was like needs no copy: `rollback` brings it back.",
        ),
        options=(
            Option(names=("--name",), value="NAME", meaning="what to call it: begins with a letter"),
            JSON,
            DIRECTORY,
        ),
        arguments=(0, 1),
        takes="run",
        examples=(("ringfence snapshot --name before-refactoring", "a point to come back to, while an agent works"),),
    ),
)
