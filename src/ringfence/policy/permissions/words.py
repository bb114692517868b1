"""The value of one word of a shell command, from its notation.

Computed pieces (`$X`, `$( )`, `${ }`, `$(( ))`) stay in the value as they are written, so that a rule can be matched
against what is known; the word is then not `fixed`. `$HOME` alone is known, because the client passes it on unchanged.
"""

import re

import tree_sitter

from .command import Word

PLAIN_COMMAND = re.compile(r"[A-Za-z_./][\w./@+-]*(?: [\w./:@%+,-][\w./:@%+,=-]*)*", re.ASCII)
"""Plain words with single spaces: no notation at all. The first holds no `=`, which would be an assignment."""

RESERVED = frozenset(
    "if then else elif fi for while until do done case esac select in function time coproc { } ! [[ ]] "
    "declare typeset export readonly local unset unsetenv nocorrect".split()
)
"""Words that make a command something else than a program with arguments."""

TRANSLATED = 'a translated string `$"..."`'

_BRACES = re.compile(r"\{[^{}]*(?:,|\.\.)[^{}]*\}?|\{.*,")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "e": "\x1b", "E": "\x1b", "f": "\f", "v": "\v"}


def plain_word(text: str) -> Word:
    """Return a word without notation."""
    return Word(raw=text, text=text)


def word_of(node: tree_sitter.Node, source: bytes) -> tuple[Word, list[str]]:
    """Evaluate the word at `node`; return it with the reasons to ask that its notation gives."""
    reading = _Reading(source)
    reading.read(node, quoted=False)
    raw = reading.slice(node)
    bare = reading.bare
    if re.search(r"\S\\\n", raw):
        reading.obstacles.append("a word that goes on in the next line")
    if _BRACES.search(bare):
        reading.expands.add("{")
        reading.obstacles.append("braces that expand")
    if re.search(r"(?<!\\)(?:\\\\)*[*?\[]", bare):
        reading.expands.add("*")
    if bare.startswith("="):
        reading.obstacles.append("a word that begins with `=`, which zsh replaces by a program's path")
    if bare.startswith("~") or "=~" in bare or ":~" in bare:
        reading.expands.add("~")
    word = Word(raw=raw, text=reading.value(), fixed=reading.fixed, expands=frozenset(reading.expands))
    return word, reading.obstacles


def begins_translated(node: tree_sitter.Node, source: bytes) -> bool:
    """Tell whether `node` is the `$` of `$"..."`, for which the grammar has a node only where a word begins with it."""
    return node.type == "$" and source[node.end_byte :].startswith(b'"')


class _Reading:
    """The pieces of one word. `bare` is what stands outside quotes, with its escapes."""

    def __init__(self, source: bytes) -> None:
        self.source = source
        self.pieces: list[str] = []
        self.variables: list[int] = []  # which pieces are
        self.bare = ""
        self.fixed = True
        self.expands: set[str] = set()
        self.obstacles: list[str] = []

    def slice(self, node: tree_sitter.Node) -> str:
        return self.source[node.start_byte : node.end_byte].decode("utf-8", "replace")

    def read(self, node: tree_sitter.Node, *, quoted: bool) -> None:
        kind, text = node.type, self.slice(node)
        if kind in ("word", "number"):
            self.literal(text, quoted=quoted)
            for child in node.children:  # a number may hold an expansion
                self.computed(self.slice(child), "a computed number")
        elif kind == "raw_string":
            self.pieces.append(text[1:-1])
            self.bare += "''"
        elif kind == "string":
            self.string(node)
        elif kind == "ansi_c_string":
            self.pieces.append(decode_ansi_c(text[2:-1]))
            self.bare += "''"
            self.obstacles.append("`$'...'`")
        elif kind == "translated_string":
            self.obstacles.append(TRANSLATED)
            self.string(node.children[-1])
        elif kind == "concatenation":
            self.concatenation(node, quoted=quoted)
        elif kind == "brace_expression":
            self.literal(text, quoted=quoted)
        elif kind == "simple_expansion":
            self.variable(text, quoted=quoted)
        elif kind == "arithmetic_expansion":
            self.arithmetic(text, quoted=quoted)
        else:
            self.computed(text, _COMPUTED.get(kind, f"a word that is not understood ({kind})"))

    def literal(self, text: str, *, quoted: bool) -> None:
        """Take unquoted text, or text in double quotes, which keep most backslashes."""
        if quoted:
            self.pieces.append(re.sub(r'\\(["$`\\])', r"\1", text.replace("\\\n", "")))
            return
        self.bare += text
        if re.search(r"\\[\s]", text):
            self.obstacles.append("an escaped space")
        if "$" in text.replace("\\$", ""):
            self.obstacles.append("a stray `$`")
        self.pieces.append(re.sub(r"\\(.)", r"\1", text.replace("\\\n", ""), flags=re.S))

    def concatenation(self, node: tree_sitter.Node, *, quoted: bool) -> None:
        for child in node.children:
            if begins_translated(child, self.source):
                self.obstacles.append(TRANSLATED)
            elif child.is_named:
                self.read(child, quoted=quoted)
            else:
                self.literal(self.slice(child), quoted=quoted)

    def string(self, node: tree_sitter.Node) -> None:
        """Read what stands between double quotes, including what has no node of its own."""
        self.bare += "''"
        at = node.start_byte + 1
        for child in node.children:
            if child.type == '"':
                continue
            self.gap(at, child.start_byte)
            if child.type == "string_content":
                self.literal(self.slice(child), quoted=True)
            elif child.is_named:
                self.read(child, quoted=True)
            else:
                self.pieces.append(self.slice(child))
            at = max(at, child.end_byte)
        self.gap(at, node.end_byte - 1)

    def gap(self, start: int, end: int) -> None:
        self.literal(self.source[start:end].decode("utf-8", "replace"), quoted=True)

    def value(self) -> str:
        """Put the pieces together; `$X"y"` must not become `$Xy`."""
        for at in self.variables:
            if re.match(r"\w", "".join(self.pieces[at + 1 :])):
                self.pieces[at] = f"${{{self.pieces[at][1:]}}}"
        return "".join(self.pieces)

    def variable(self, text: str, *, quoted: bool) -> None:
        self.variables.append(len(self.pieces))
        self.pieces.append(text)
        self.bare += "" if quoted else text
        self.fixed = False
        if text == "$HOME":
            self.expands.add("$HOME")
        else:
            self.obstacles.append(f"the variable `{text}`")

    def arithmetic(self, text: str, *, quoted: bool) -> None:
        self.computed(text, "")
        if quoted or not re.fullmatch(r"\$\(\([\d\s+*/%-]+\)\)", text):
            self.obstacles.append("arithmetic")

    def computed(self, text: str, obstacle: str) -> None:
        self.pieces.append(text)
        self.fixed = False
        if obstacle:
            self.obstacles.append(obstacle)


_COMPUTED = {
    "expansion": "a parameter expansion",
    "command_substitution": "a command or process substitution",
    "process_substitution": "a command or process substitution",
    "array": "an array",
}


def decode_ansi_c(text: str) -> str:
    r"""Decode the inside of `$'...'` (bash(1), QUOTING); an unknown escape stays as it is."""

    def one(match: re.Match[str]) -> str:
        body = match[1]
        if body[0] in "xuU" and len(body) > 1:
            return chr(int(body[1:], 16))
        if body[0] in "01234567":
            return chr(int(body, 8) & 0xFF)
        return _ESCAPES.get(body, body if body in "\\'\"?" else match[0])

    pattern = r"\\(x[0-9a-fA-F]{1,2}|u[0-9a-fA-F]{1,4}|U000[0-9a-fA-F]{5}|U0010[0-9a-fA-F]{4}|[0-7]{1,3}|.)"
    return re.sub(pattern, one, text, flags=re.S)
