"""Changes of a module that a test should notice, one at a time, for scripts/mutate.

Conditions that always or never hold, comparisons off by one or turned around, parts of conditions left out, numbers one
more, results that are nothing, statements and entries of tables left out, arguments swapped, patterns that match
nothing or have an alternative less. Messages, annotations and decorators stay as they are.
"""

import ast
import contextlib
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src/ringfence/policy"

EDGES: dict[type[ast.cmpop], type[ast.cmpop]] = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
# Turned around in a condition they are the same as one that always or never holds, which is tried anyway.
OPPOSITES: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.In: ast.NotIn,
    ast.Is: ast.IsNot,
    ast.NotEq: ast.Eq,
    ast.NotIn: ast.In,
    ast.IsNot: ast.Is,
}
CONDITIONS = (ast.If, ast.IfExp, ast.While, ast.comprehension, ast.BoolOp)
NOTHING = {"str": "''", "list[": "[]", "tuple[": "()"}
COMPARING = frozenset("startswith endswith removeprefix removesuffix partition rpartition split".split())
STRIPPING = frozenset("strip lstrip rstrip".split())
MATCHING = frozenset("compile fullmatch match search sub".split())
ALTERNATIVE = re.compile(r"(?:(?<=\()|(?<=\(\?:)|(?<=\|)|^)[\w.-]+\|")
UNTOUCHED = frozenset("annotation returns decorator_list ctx ops targets target".split())
DEFINITIONS = (ast.FunctionDef, ast.ClassDef)
TABLES = (ast.Assign, ast.AnnAssign, ast.AugAssign)

Changes = Iterator[tuple[ast.AST | None, str]]


class Module:
    """A module of the package."""

    def __init__(self, path: Path) -> None:
        self.file = str(path)
        self.path = str(path.relative_to(PACKAGE))
        self.name = f"ringfence.policy.{self.path.removesuffix('.py').replace('/', '.')}".removesuffix(".__init__")
        self.tree = ast.parse(path.read_text(encoding="utf-8"))


class Place:
    """A node with what is around it: `parent.field`, at `index` where that is a list, and the tests' lines."""

    def __init__(self, module: Module, node: ast.AST, around: list[tuple[ast.AST, str, int]]) -> None:
        self.module, self.node = module, node
        self.parent, self.field, self.index = around[-1]
        above = [entry[0] for entry in around[1:]]
        self.top = above[0] if above else node
        self.scope = ".".join(each.name for each in above if isinstance(each, DEFINITIONS)) or assigned(self.top)
        self.function = next((each for each in reversed(above) if isinstance(each, ast.FunctionDef)), None)
        statement = next(each for each in (node, *reversed(above)) if isinstance(each, ast.stmt))
        self.first, self.last = statement.lineno, statement.end_lineno or statement.lineno
        body = getattr(statement, "body", None)
        if isinstance(body, list) and not isinstance(statement, DEFINITIONS):
            self.last = max(self.first, body[0].lineno - 1)


class Mutant:
    """One change: `new` instead of the node in `place`, or nothing."""

    def __init__(self, place: Place, new: ast.AST | None, text: str) -> None:
        self.place, self.new = place, new
        written = " ".join(ast.unparse(place.node).split())
        self.name = f"{place.module.path} {place.scope}: {written[:90]} -> {text[:70]}"

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Have the change in the tree."""
        place = self.place
        held = getattr(place.parent, place.field)
        new = [self.new] if self.new is not None else []
        changed = [*held[: place.index], *new, *held[place.index + 1 :]] if isinstance(held, list) else self.new
        setattr(place.parent, place.field, changed)
        ast.fix_missing_locations(place.module.tree)
        yield
        setattr(place.parent, place.field, held)


def assigned(statement: ast.AST) -> str:
    """Return the names that a statement assigns, separated by `, `."""
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    if isinstance(statement, ast.AnnAssign | ast.AugAssign):
        targets = [statement.target]
    return ", ".join(map(ast.unparse, targets))


def mutants(module: Module) -> list[Mutant]:
    """List every change of a module, each under a name of its own."""
    found = [Mutant(place, new, text) for place in _places(module, module.tree, []) for new, text in _changes(place)]
    counted: Counter[str] = Counter()
    for mutant in found:
        counted[mutant.name] += 1
        if counted[mutant.name] > 1:
            mutant.name += f" (again {counted[mutant.name]})"
    return found


def _places(module: Module, node: ast.AST, around: list[tuple[ast.AST, str, int]]) -> Iterator[Place]:
    if around:
        yield Place(module, node, around)
    if isinstance(node, ast.JoinedStr | ast.Raise | ast.Import | ast.ImportFrom):
        return
    for field, value in ast.iter_fields(node):
        if field not in UNTOUCHED and not (field == "keywords" and isinstance(node, ast.ClassDef)):
            for index, child in enumerate(value if isinstance(value, list) else [value]):
                if isinstance(child, ast.AST):
                    yield from _places(module, child, [*around, (node, field, index)])


def _changes(place: Place) -> Changes:
    """Yield what may stand instead of a node, and what to call it."""
    if place.field in ("test", "ifs") and isinstance(place.parent, ast.If | ast.IfExp | ast.comprehension):
        yield from ((ast.Constant(value), f"always {value}") for value in (True, False))
    if isinstance(place.node, ast.stmt):
        yield from _statement(place, place.node)
    elif isinstance(place.node, ast.Constant):
        yield from _constant(place, place.node.value)
    elif isinstance(place.node, ast.Set | ast.Tuple | ast.List | ast.Dict):
        yield from _table(place, place.node)
    else:
        yield from _expression(place, place.node)


def _statement(place: Place, node: ast.stmt) -> Changes:
    match node:
        case ast.Return(value=ast.expr() as value) if place.function is not None and place.function.returns is not None:
            kind = ast.unparse(place.function.returns)
            results = ["True", "False"] if kind == "bool" else ["None"] if " | None" in kind else []
            results += [
                new for start, new in NOTHING.items() if kind == start or (kind.startswith(start) and start[-1] == "[")
            ]
            for new in dict.fromkeys(results):
                if ast.unparse(value) != new:
                    yield ast.Return(ast.parse(new, mode="eval").body), f"return {new}"
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Continue() | ast.Break() | ast.Raise():
            yield ast.Pass(), "removed"
        case ast.Assign(targets=[ast.Name(id=name)]) if place.function is not None:
            stores = [each for each in ast.walk(place.function) if isinstance(each, ast.Name) and each.id == name]
            if sum(isinstance(each.ctx, ast.Store) for each in stores) > 1:
                yield ast.Pass(), "removed"


def _expression(place: Place, node: ast.AST) -> Changes:
    match node:
        case ast.Compare(left=left, ops=[operator], comparators=right):
            turned = EDGES.get(type(operator))
            if turned is None and not isinstance(place.parent, CONDITIONS):
                turned = OPPOSITES.get(type(operator))
            if turned is not None:
                yield ast.Compare(left=left, ops=[turned()], comparators=right), turned.__name__
        case ast.UnaryOp(op=ast.Not(), operand=operand) if not isinstance(place.parent, CONDITIONS):
            yield operand, "without not"
        case ast.BoolOp(op=operator, values=values):
            for at in range(len(values)):
                rest = [*values[:at], *values[at + 1 :]]
                yield ast.BoolOp(op=operator, values=rest) if len(rest) > 1 else rest[0], f"without part {at + 1}"
        case ast.Call(func=called, args=[first, second, *rest], keywords=keywords):
            plain = not any(isinstance(each, ast.Constant | ast.Starred) for each in (first, second))
            plain = plain and ast.dump(first) != ast.dump(second)
            if plain and ast.unparse(called) not in ("isinstance", "zip", "max", "min"):
                yield ast.Call(func=called, args=[second, first, *rest], keywords=keywords), "arguments swapped"
        case _:
            pass


def _constant(place: Place, value: object) -> Changes:
    if isinstance(value, bool):
        yield ast.Constant(not value), str(not value)
    elif isinstance(value, int):
        yield ast.Constant(value + 1), str(value + 1)
    elif isinstance(value, str):
        yield from ((ast.Constant(new), repr(text)) for new, text in _texts(place, value))


def _texts(place: Place, value: str) -> Iterator[tuple[str, str]]:
    """Yield other texts for one that is compared, looked for, a pattern or a list of words."""
    parent = place.parent
    called = parent.func if isinstance(parent, ast.Call) and isinstance(parent.func, ast.Attribute) else None
    method = called.attr if called is not None else ""
    if isinstance(parent, ast.Attribute) and parent.attr == "split":
        words = value.split()
        yield from ((" ".join(words[:at] + words[at + 1 :]), f"without {word}") for at, word in enumerate(words))
    elif called is not None and method in MATCHING and place.index == 0 and isinstance(called.value, ast.Name):
        yield "(?!)", "matches nothing"
        for found in ALTERNATIVE.finditer(value):
            yield value[: found.start()] + value[found.end() :], f"without {found[0]}"
    elif method in STRIPPING or (isinstance(parent, ast.Compare) and isinstance(parent.ops[0], ast.In | ast.NotIn)):
        yield value[:-1], "without the last character"
    elif isinstance(parent, ast.Compare) or method in COMPARING:
        yield value + "\x00", "another text"


def _table(place: Place, node: ast.Set | ast.Tuple | ast.List | ast.Dict) -> Changes:
    """Yield a table without each of its entries; a tuple in a function may be of a fixed length, and stays."""
    if isinstance(node, ast.Dict):
        for at, key in enumerate(node.keys if len(node.keys) > 1 else ()):
            keys, values = list(node.keys), list(node.values)
            del keys[at], values[at]
            yield ast.Dict(keys=keys, values=values), f"without {ast.unparse(key) if key is not None else '**'}"
    elif len(node.elts) > 1:
        loose = isinstance(place.parent, ast.Compare | ast.Call | ast.For | ast.comprehension)
        for element in node.elts if loose or place.function is None else ():
            new = type(node)(**{**dict(ast.iter_fields(node)), "elts": [each for each in node.elts if each != element]})
            yield new, f"without {ast.unparse(element)}"
