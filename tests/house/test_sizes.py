"""Positive controls: each measure of size must object to something too large."""

from textwrap import dedent

from tests.house import sizes
from tests.house.sources import Source


def module(text: str, name: str = "src/ringfence/policy/sample.py") -> Source:
    return Source(name, dedent(text))


def test_comments_docstrings_and_blank_lines_are_no_code() -> None:
    sample = module(
        '''\
        """Opening,
        of two lines."""

        # a comment
        VALUE = (
            1,  # counted: the line has code

            2,
        )


        def work() -> str:
            """Do it."""
            return """a string
        is code"""
        '''
    )
    assert sorted(sample.code_lines) == [5, 6, 8, 9, 12, 14, 15]


def test_a_budget_counts_the_code_of_all_its_files() -> None:
    sources = [
        module("a = 1\nb = 2\n", "src/ringfence/sandbox/launch.py"),
        module("# why\nc = 3\n", "src/ringfence/sandbox/seccomp.py"),
        module("d = 4\n" * 50, "src/ringfence/sandbox/facts.py"),
    ]
    parts = ("sandbox/launch.py", "sandbox/seccomp.py")
    assert sizes.over_budget(sources, {parts: 3}) == []
    assert sizes.over_budget(sources, {parts: 2}) == [
        "sandbox/launch.py + sandbox/seccomp.py: 3 code lines, the budget is 2"
    ]


def test_a_folder_with_a_budget_of_its_own_is_not_counted_twice() -> None:
    sources = [
        module("a = 1\n", "src/ringfence/policy/parse.py"),
        module("b = 2\n" * 3, "src/ringfence/policy/permissions/rules.py"),
    ]
    assert sizes.over_budget(sources, {("policy/",): 1, ("policy/permissions/",): 3}) == []
    assert len(sizes.over_budget(sources, {("policy/",): 1})) == 1


def test_long_modules_and_introductions_are_listed() -> None:
    assert sizes.long_modules([module("a = 1\n" * 400)]) == []
    assert len(sizes.long_modules([module("a = 1\n" * 401)])) == 1
    name = "src/ringfence/policy/__init__.py"
    assert sizes.long_introductions([module('"""One line."""\n', name)]) == []
    assert len(sizes.long_introductions([module("", name)])) == 1
    assert len(sizes.long_introductions([module('"""' + "line\n" * 21 + '"""\n', name)])) == 1


def test_five_positional_parameters_are_too_many() -> None:
    allowed = module("class A:\n    def four(self, a, b, c, d, *, e, f): ...\n")
    refused = module("def five(a, /, b, c, d, e): ...\n")
    assert sizes.long_parameter_lists([allowed]) == []
    assert sizes.long_parameter_lists([refused]) == [
        "src/ringfence/policy/sample.py:1: `five` has 5 positional parameters"
    ]


def function(name: str, lines: int) -> str:
    return f"def {name}():\n" + "    value = 1\n" * (lines - 1)


def test_function_lengths() -> None:
    short = "".join(function(f"short_{number}", 5) for number in range(40))
    assert sizes.long_functions([module(short + function("long", 41))]) == []
    assert len(sizes.long_functions([module(short + function("endless", 81))])) == 1
    assert len(sizes.long_functions([module(function("short", 5) + function("long", 41))])) == 2
    assert "median" in sizes.long_functions([module(function("middling", 13))])[0]
