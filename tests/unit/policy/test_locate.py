"""The line of each key and entry, in each of TOML's ways to write them."""

from ringfence.policy.locate import locate


def test_tables_dotted_and_quoted_keys() -> None:
    text = '# head\n\na = 1 # x\nb . "c.d" = 2\n[t."u v"]\nk = 3\n[ t.w ]\n\'q"q\' = 4\n"e\\u0041=]" = 5\n'
    assert locate(text) == {
        ("a",): 3,
        ("b",): 4,
        ("b", "c.d"): 4,
        ("t",): 5,
        ("t", "u v"): 5,
        ("t", "u v", "k"): 6,
        ("t", "w"): 7,
        ("t", "w", 'q"q'): 8,
        ("t", "w", "eA=]"): 9,
    }


def test_a_header_with_a_bracket_in_quotes() -> None:
    assert locate('["a]b"]\nc = 1') == {("a]b",): 1, ("a]b", "c"): 2}


def test_arrays_over_lines_with_comments_and_inline_tables() -> None:
    text = "a = [ # [\n  1,\n\n  [2,\n 3], { b = 4, c.d = [5\n] }, # ]\n]\ne = []\nf = {}\n"
    assert locate(text) == {
        ("a",): 1,
        ("a", 0): 2,
        ("a", 1): 4,
        ("a", 1, 0): 4,
        ("a", 1, 1): 5,
        ("a", 2): 5,
        ("a", 2, "b"): 5,
        ("a", 2, "c"): 5,
        ("a", 2, "c", "d"): 5,
        ("a", 2, "c", "d", 0): 5,
        ("e",): 8,
        ("f",): 9,
    }


def test_strings_of_each_kind_hide_what_is_in_them() -> None:
    text = (
        'a = "x \\" # [ \\\\"\n'
        "b = '\\'\n"
        'c = """\n[no]\n\\""" x = 1 """""\n'
        "d = '''\n'' k = 1\n''''\n"
        "e = 1979-05-27 07:32:00\nf = \"\"\ng = ''"
    )
    assert locate(text) == {("a",): 1, ("b",): 2, ("c",): 3, ("d",): 6, ("e",): 9, ("f",): 10, ("g",): 11}


def test_arrays_of_tables_count_their_entries() -> None:
    text = "[[a]]\nx = 1\n[[a.b]]\n[a.c]\ny = 1\n[[a]]\n[[a.b]]\nz = 1\n"
    assert locate(text) == {
        ("a",): 1,
        ("a", 0): 1,
        ("a", 0, "x"): 2,
        ("a", 0, "b"): 3,
        ("a", 0, "b", 0): 3,
        ("a", 0, "c"): 4,
        ("a", 0, "c", "y"): 5,
        ("a", 1): 6,
        ("a", 1, "b"): 7,
        ("a", 1, "b", 0): 7,
        ("a", 1, "b", 0, "z"): 8,
    }


def test_line_ends_of_both_kinds() -> None:
    assert locate("a = [\r\n1,\r\n2]\r\nb = 1") == {("a",): 1, ("a", 0): 2, ("a", 1): 3, ("b",): 4}


def test_an_empty_text_and_a_comment_without_an_end() -> None:
    assert locate("") == {}
    assert locate("a = 1 # end") == {("a",): 1}


def test_nothing_between_one_thing_and_the_next() -> None:
    assert locate("[a]#]\nk=[1,[2,\n3]]\n[[b]]#]]\nk=[[\n1]]") == {
        ("a",): 1,
        ("a", "k"): 2,
        ("a", "k", 0): 2,
        ("a", "k", 1): 2,
        ("a", "k", 1, 0): 2,
        ("a", "k", 1, 1): 3,
        ("b",): 4,
        ("b", 0): 4,
        ("b", 0, "k"): 5,
        ("b", 0, "k", 0): 5,
        ("b", 0, "k", 0, 0): 6,
    }


def test_a_string_of_several_lines_that_ends_in_quotes_or_the_text() -> None:
    assert locate('a = ["""x""""]\nb = 1') == {("a",): 1, ("a", 0): 1, ("b",): 2}
    assert locate("a = 1\nb = '''x'''") == {("a",): 1, ("b",): 2}
