"""How the house is kept: names that stand once, functions that take little, verbs that repeat nothing."""

import ast
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src" / "vsalient"
TREES = {path.relative_to(SOURCE): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(SOURCE.rglob("*.py"))}
SAME = {
    "command",  # a verb's function
    "log",  # a module's own logger
    "__all__",
    "__getattr__",
    # What a network's module offers beside its class: `vsalient.models.network` looks for it by name.
    "convert_checkpoint",
    "KEY_TABLE",
    "DROPPED_KEYS",
    "ROWS",  # what a paper's module in reproduce/papers holds
}
"""Names that have one meaning in every module where they stand."""
MOST_PARAMETERS = 12
LONGEST_RUN = 8


def top_level(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def test_no_top_level_name_stands_twice() -> None:
    homes = defaultdict(set)
    for path, tree in TREES.items():
        for name in top_level(tree):
            homes[name].add(str(path))
    twice = {name: sorted(paths) for name, paths in homes.items() if len(paths) > 1 and name not in SAME}
    assert not twice
    for path, tree in TREES.items():
        names = Counter(top_level(tree))
        assert [name for name, times in names.items() if times > 1 and name != "_"] == [], path


def is_command(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any("command(" in ast.unparse(decorator) for decorator in function.decorator_list)


def test_no_function_takes_more_than_twelve() -> None:
    wide = [
        f"{path}:{node.name}"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not is_command(node)
        if len([a for a in [*node.args.args, *node.args.kwonlyargs] if a.arg != "self"]) > MOST_PARAMETERS
    ]
    assert not wide


def lines(path: Path) -> list[str]:
    """What stands in a file, without blank lines, comments, imports and what only closes a bracket."""
    imported = {
        line
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.Import | ast.ImportFrom)
        for line in range(node.lineno, (node.end_lineno or 0) + 1)
    }
    text = (SOURCE / path).read_text(encoding="utf-8").splitlines()
    kept = [line.strip() for number, line in enumerate(text, 1) if number not in imported]
    return [line for line in kept if line.strip("()[]{},: ") and not line.startswith("#")]


def test_no_long_run_stands_in_two_verbs() -> None:
    verbs = [path for path in TREES if path.parent == Path("cli")]
    for one, other in itertools.combinations(verbs, 2):
        first, second = lines(one), lines(other)
        ends = [0] * (len(second) + 1)  # how many lines are equal up to here
        for line in first:
            ends = [0, *(before + 1 if line == there else 0 for before, there in zip(ends, second, strict=False))]
            assert max(ends) <= LONGEST_RUN, f"{one} and {other}: up to {line!r}"
