"""The first reading of a shell command, by tree-sitter's bash grammar.

Theory of operation: the tree is walked once. Constructs that a rule may vouch for part by part (lists, pipelines, `if`,
`while`, `for` over words) are descended into; every other one is descended into as well, so that denials see what is
inside, and becomes an obstacle. A node type that is not known here is an obstacle, never skipped.

A word's value is put together from source text, not from the tree's leaves: what lies between two children of a string
belongs to it although the grammar gives it no node.

A command made of plain words and single spaces holds nothing to disagree on; it is split without a parser.
"""

import re
from functools import lru_cache

import msgspec
import tree_sitter
import tree_sitter_bash

from .command import Assignment, Command, Context, Redirect, Script, Word
from .second_reading import disagreement
from .words import PLAIN_COMMAND, RESERVED, TRANSLATED, begins_translated, plain_word, word_of

MAX_TEXT = 10_000
"""Longer commands are read for denials only (Claude Code's limit, measured)."""

LONGEST_TEXT = 20 * MAX_TEXT
"""Longer ones are not parsed at all, and asked about in every mode."""

_HIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u0085\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]")
# Inside `${ }` the grammar has no node for substitutions of these kinds, and takes `'` for a quote within `"`.
_UNREAD = re.compile(r"[`']|[<>]\(")
_COMMENT_IN_QUOTES = re.compile(r"\n\s*#")

_CONTAINERS = frozenset(
    "program list pipeline if_statement elif_clause else_clause while_statement do_group negated_command".split()
)
_LISTS = frozenset("list pipeline".split())
_COMPOUND = frozenset("if_statement while_statement for_statement compound_statement subshell".split())
_OBSTACLES = {
    "subshell": "a subshell",
    "compound_statement": "a group or arithmetic command",
    "case_statement": "`case`",
    "case_item": "",
    "c_style_for_statement": "`for ((`",
    "function_definition": "a function definition",
}
_TESTS = frozenset("test_command".split())


@lru_cache(maxsize=1)
def _parser() -> tree_sitter.Parser:
    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_bash.language()))


@lru_cache(maxsize=4096)
def parse(text: str) -> Script:
    """Read `text`, a command for bash; what cannot be read is a `Script` with doubts, never an error."""
    if len(text) <= MAX_TEXT and PLAIN_COMMAND.fullmatch(text):
        words = text.split(" ")
        if words[0] not in RESERVED:
            return Script(text=text, commands=(Command(raw=text, words=tuple(plain_word(word) for word in words)),))
    try:
        source = text.encode()
    except UnicodeEncodeError:
        return Script(text=text, doubts=("it is not valid text",))
    if len(text) > LONGEST_TEXT:
        return Script(text=text, doubts=(f"it is longer than {LONGEST_TEXT} characters",), unread=True)
    reader = _Reader(source)
    try:
        reader.read(_parser().parse(source).root_node)
    except RecursionError:
        return Script(text=text, doubts=("it is nested too deeply to be read",), unread=True)
    script = Script(
        text=text,
        commands=tuple(reader.commands),
        looped=tuple(reader.looped),
        obstacles=tuple(dict.fromkeys(reader.obstacles)),
        doubts=tuple(dict.fromkeys(reader.doubts + _oddities(text))),
    )
    extra, doubt = disagreement(script)
    if not doubt:
        return script
    return msgspec.structs.replace(script, commands=script.commands + extra, doubts=(*script.doubts, doubt))


def _oddities(text: str) -> list[str]:
    """What a reader of the text would not see as the shell does."""
    found = []
    if len(text) > MAX_TEXT:
        found.append(f"it is longer than {MAX_TEXT} characters")
    if _HIDDEN.search(text):
        found.append("it holds control characters or spaces that do not look like what they are")
    if _COMMENT_IN_QUOTES.search(text) and re.search(r"""["']""", text):
        found.append("a quoted line begins with `#`")
    return found


class _Reader:
    """One walk over one tree."""

    def __init__(self, source: bytes) -> None:
        self.source = source
        self.commands: list[Command] = []
        self.looped: list[Assignment] = []
        self.obstacles: list[str] = []
        self.doubts: list[str] = []

    def read(self, root: tree_sitter.Node) -> None:
        if root.has_error:
            self.doubts.append("it is not a complete, correct command")
        self.statement(root, Context.DIRECT, ())

    def text(self, node: tree_sitter.Node) -> str:
        return self.source[node.start_byte : node.end_byte].decode("utf-8", "replace")

    def statement(self, node: tree_sitter.Node, context: Context, redirects: tuple[Redirect, ...]) -> None:
        """Read a statement and everything in it; `redirects` apply to it from outside."""
        kind = node.type
        if kind == "command":
            self.command(node, context, redirects)
        elif kind == "redirected_statement":
            self.redirected(node, context, redirects)
        elif kind in _CONTAINERS:
            self.container(node, context, redirects)
        elif kind == "for_statement":
            self.loop(node, context, redirects)
        elif kind in _TESTS:
            self.test(node, context, redirects)
        elif kind in ("variable_assignment", "variable_assignments"):
            self.assignments(node, context, redirects)
        elif kind in ("declaration_command", "unset_command"):
            words = tuple(plain_word(word) for word in self.text(node).split())
            self.inside(node, context)
            self.commands.append(Command(raw=self.text(node), words=words, redirects=redirects, context=context))
        elif kind in _OBSTACLES:
            self.obstacle(node, context, redirects)
        elif node.is_named and kind != "comment":
            self.obstacles.append(f"a construct that is not understood ({kind})")
            self.inside(node, context)

    def container(self, node: tree_sitter.Node, context: Context, redirects: tuple[Redirect, ...]) -> None:
        # The grammar hangs a redirection on the whole of a list or pipeline; to the shell it is the last command's.
        shared = () if node.type in _LISTS else redirects
        for child in node.children:
            if child.is_named:
                self.statement(child, context, redirects if child == node.children[-1] else shared)
            elif child.type == "&":
                self.obstacles.append("a command in the background")
            elif child.type == ";;":
                self.obstacles.append("a stray `;;`")

    def obstacle(self, node: tree_sitter.Node, context: Context, redirects: tuple[Redirect, ...]) -> None:
        if _OBSTACLES[node.type]:
            self.obstacles.append(_OBSTACLES[node.type])
        within = Context.FUNCTION if node.type == "function_definition" else context
        for child in node.children:
            if child.type in _CONTAINERS or child.type in _OBSTACLES or child.type in ("command", "for_statement"):
                self.statement(child, within, redirects)
            elif child.type in ("redirected_statement", "test_command", "declaration_command", "variable_assignment"):
                self.statement(child, within, redirects)
            elif child.type.endswith("_redirect"):  # of a function, wherever it is called
                self.opened(child, within)
            else:
                self.inside(child, within)

    def loop(self, node: tree_sitter.Node, context: Context, redirects: tuple[Redirect, ...]) -> None:
        """`for name in words`: the words are looked at, the body is read; `select` is an obstacle."""
        if self.text(node).startswith("select"):
            self.obstacles.append("`select`")
        name = next((self.text(child) for child in node.children if child.type == "variable_name"), "")
        for child in node.children:
            if child.type == "do_group":
                if any(inner.type == "pipeline" for inner in _named_below(child)):
                    self.obstacles.append("a pipeline in a loop")
                self.statement(child, context, redirects)
            elif child.is_named and child.type != "variable_name":
                self.looped.append(Assignment(name=name, value=self.word(child, context), plain=True))

    def test(self, node: tree_sitter.Node, context: Context, redirects: tuple[Redirect, ...]) -> None:
        """`[ ]` and `[[ ]]`: reads only, as long as nothing in it is computed."""
        words = tuple(plain_word(word) for word in self.text(node).split())
        if not all(self.plain_operand(child) for child in _named_below(node)):
            self.obstacles.append("a test whose operands are computed or matched")
        self.inside(node, context)
        self.commands.append(Command(raw=self.text(node), words=words, redirects=redirects, context=context))

    def plain_operand(self, node: tree_sitter.Node) -> bool:
        patterns = node.type in _MATCHED and re.search(_MATCHED[node.type], self.text(node)) is not None
        return node.type in _PLAIN_TEST and not patterns

    def redirected(self, node: tree_sitter.Node, context: Context, outer: tuple[Redirect, ...]) -> None:
        found: list[Redirect] = []
        bodies = []
        before = len(self.commands)
        for child in node.children:
            if child.type.endswith("_redirect"):
                found += self.redirect(child, context)
            else:
                bodies.append(child)
        redirects = outer + tuple(found)
        for body in bodies:
            if body.type in _COMPOUND:
                self.obstacles.append("a redirection of more than one command")
            self.statement(body, context, redirects)
        if not bodies:
            self.obstacles.append("a redirection without a command")
        if not any(set(found) <= set(command.redirects) for command in self.commands[before:]):
            self.commands.append(Command(raw=self.text(node), redirects=redirects, context=context))

    def opened(self, node: tree_sitter.Node, context: Context) -> None:
        """Read a redirection that belongs to no command."""
        redirects = tuple(self.redirect(node, context))
        self.commands.append(Command(raw=self.text(node), redirects=redirects, context=context))

    def redirect(self, node: tree_sitter.Node, context: Context) -> list[Redirect]:
        """Read a redirection, and those that the grammar hangs below it."""
        if node.type == "heredoc_redirect":
            return self.heredoc(node, context)
        operator, target = "", None
        for child in node.children:
            if not child.is_named:
                operator += child.type
            elif child.type == "file_descriptor":
                pass
            elif target is None:
                target = self.word(child, context)
            else:
                self.obstacles.append("a redirection that is not understood")
        return [Redirect(operator=operator, target=target, text=self.text(node))]

    def heredoc(self, node: tree_sitter.Node, context: Context) -> list[Redirect]:
        opening, start, end = "", node.end_byte, node.end_byte
        further: list[Redirect] = []
        for child in node.children:
            if child.type == "heredoc_start":
                opening, start = self.text(child), child.end_byte
            elif child.type == "heredoc_end":
                end = child.start_byte
            elif child.type == "heredoc_body":
                self.inside(child, context)
            elif child.type not in ("<<", "<<-", "file_descriptor"):
                self.obstacles.append("a here-document that leads on to something else")
                if child.type.endswith("_redirect"):
                    further += self.redirect(child, context)
                else:
                    self.statement(child, context, ())
        if not any(mark in opening for mark in "'\"\\"):
            self.obstacles.append("a here-document whose text the shell expands")
        # Not the body's node: where it begins with a backslash, the grammar gives some or all of it to the line above.
        body = self.source[start:end].partition(b"\n")[2].decode("utf-8", "replace")
        return [Redirect(operator="<<", text=body), *further]

    def command(self, node: tree_sitter.Node, context: Context, redirects: tuple[Redirect, ...]) -> None:
        words: list[Word] = []
        assignments: list[Assignment] = []
        own: list[Redirect] = []
        for child in node.children:
            if child.type == "variable_assignment":
                assignments.append(self.assignment(child, context))
            elif child.type.endswith("_redirect"):
                own += self.redirect(child, context)
            elif child.type == "command_name":
                words.append(self.word(child.children[0], context))
            elif child.type == "subshell":
                self.statement(child, context, redirects)
            elif child.is_named:
                words.append(self.word(child, context))
            elif begins_translated(child, self.source):
                self.obstacles.append(TRANSLATED)
            else:
                self.obstacles.append(f"`{child.type}`") if child.type not in ("==", "=~") else None
                words.append(plain_word(self.text(child)))
        for word in words[:1]:
            if word.text in RESERVED - {"time"} and word.raw == word.text:
                self.obstacles.append(f"`{word.text}`")
        first = next((c for c in node.children if not c.type.endswith("_redirect")), node)
        if first is not node.children[0]:
            self.obstacles.append("a redirection before its command")
        raw = self.source[first.start_byte : max(c.end_byte for c in node.children if not c.type.endswith("_redirect"))]
        command = Command(
            raw=raw.decode("utf-8", "replace"),
            words=tuple(words),
            assignments=tuple(assignments),
            redirects=tuple(own) + redirects,
            context=context,
        )
        self.commands.append(command)

    def assignments(self, node: tree_sitter.Node, context: Context, redirects: tuple[Redirect, ...]) -> None:
        nodes = node.children if node.type == "variable_assignments" else [node]
        found = tuple(self.assignment(child, context) for child in nodes)
        self.commands.append(Command(raw=self.text(node), assignments=found, redirects=redirects, context=context))

    def assignment(self, node: tree_sitter.Node, context: Context) -> Assignment:
        name, operator, value = "", "", plain_word("")
        for child in node.children:
            if child.type in ("variable_name", "subscript"):
                name = self.text(child)
                self.inside(child, context)
            elif not child.is_named:
                operator = child.type
            else:
                value = self.word(child, context)
        return Assignment(name=name, value=value, plain=operator == "=" and name.isidentifier())

    def word(self, node: tree_sitter.Node, context: Context) -> Word:
        """Evaluate a word; what it runs is read as well, and what it computes becomes an obstacle."""
        self.inside(node, context)
        word, obstacles = word_of(node, self.source)
        self.obstacles += obstacles
        return word

    def inside(self, node: tree_sitter.Node, context: Context) -> None:
        """Read the commands in substitutions below `node`."""
        if node.type in ("command_substitution", "process_substitution"):
            self.obstacles.append("a command or process substitution")
            within = context if context is Context.FUNCTION else Context.SUBSTITUTION
            for child in node.children:
                if child.type.endswith("_redirect"):
                    self.opened(child, within)
                else:
                    self.statement(child, within, ())
            return
        if node.type == "expansion" and _UNREAD.search(self.text(node)):
            self.doubts.append("it holds something inside `${ }` that parsers do not read as the shell does")
        for child in node.children:
            self.inside(child, context)


_PLAIN_TEST = frozenset(
    "unary_expression binary_expression test_operator word string string_content raw_string number "
    "parenthesized_expression regex concatenation extglob_pattern".split()
)
# What makes an operand of a test more than itself.
_MATCHED = {"extglob_pattern": r"[*?\[(]", "word": r"[*?\[]", "regex": r"[*?\[]", "concatenation": r"\$$"}


def _named_below(node: tree_sitter.Node) -> list[tree_sitter.Node]:
    found = []
    for child in node.children:
        if child.is_named:
            found.append(child)
            found += _named_below(child)
    return found
