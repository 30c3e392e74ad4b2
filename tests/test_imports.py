"""The house's two rules of import: the direction of dependencies, and what may load PyTorch."""

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "vsalient"

BASE = {
    *(
        "errors",
        "types",
        "version",
        "vocabulary",
        "antialias",
        "staging",
        "sweeping",
        "files",
        "toml_files",
        "typed_tables",
        "entry_points",
        "datasets",
    ),
}
STAGES = {"media", "clips", "cuts", "stitch", "transforms", "models", "priors", "checkpoints", "metrics", "segment"}
WIRING = {"engine", "devices", "procedure", "pipeline", "workers", "figures"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "types": set(),
    "antialias": set(),
    "version": set(),
    "vocabulary": set(),
    "staging": set(),
    "toml_files": {"errors"},
    "typed_tables": {"errors"},
    "entry_points": {"errors"},
    "sweeping": {"staging"},
    "datasets": {"errors", "types"},
    "files": {"errors", "staging"},
    **dict.fromkeys(STAGES, BASE),
    # A registry entry names an architecture; building it is what loading weights ends with.
    "checkpoints": BASE | {"models"},
    # Calm over time needs optical flow.
    "matte": BASE | {"priors"},
    # The last stage: it encodes with media, and measures what segment made.
    "outputs": BASE | {"media", "segment", "matte"},
    "reframe": BASE | {"outputs"},
    # The review page is an output that shows how sure a map is.
    "review": BASE | {"media", "outputs", "priors"},
    "devices": BASE,
    "workers": set(),
    "figures": set(),
    "inputs": BASE | {"media"},
    "engine": BASE | STAGES | {"devices"},
    "procedure": BASE | STAGES,
    "pipeline": BASE | STAGES | {"engine", "procedure", "workers", "figures"},
    "run": BASE | STAGES | {"outputs", "pipeline", "workers", "figures"},
    "training": BASE | STAGES | WIRING,
    "evaluation": BASE | STAGES | WIRING | {"api", "model"},
    "report": BASE | {"metrics", "evaluation"},
    "benchmarking": BASE | STAGES | WIRING | {"api", "model"},
    # Experiments put training, prediction and scoring in a row.
    "reproduce": BASE
    | {"checkpoints", "metrics", "training", "evaluation", "api", "model", "models"}
    | {"devices", "procedure", "segment", "benchmarking"},
    "scale": BASE | {"media", "datasets"},
    "model": BASE | STAGES | WIRING | {"outputs", "run", "inputs"},
    "api": BASE | STAGES | WIRING | {"outputs", "run", "inputs", "model"},
    "serve": BASE | {"media", "scale", "version", "datasets"},
    # An actor plans names as the command does.
    "ray": BASE | {"scale", "checkpoints", "cli"},
}
"""Part of the package -> the other parts it may import; `cli` and the package itself may import all."""
TORCH_AT_IMPORT = {"models", "engine", "devices", "training"}
TORCH_LATER = {"transforms", "checkpoints", "benchmarking", "reproduce"}
LIGHT_VERBS = [
    [],
    ["predict"],
    ["segment"],
    ["evaluate"],
    ["reproduce"],
    ["models"],
    ["train"],
    ["doctor"],
    ["models", "list"],
]


def imports(path: Path) -> list[tuple[ast.AST, str, bool]]:
    """(node, module, whether at import time and not only for type checking) for each import of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: list[tuple[ast.AST, str, bool]] = []

    def visit(node: ast.AST, immediate: bool, typing_only: bool) -> None:
        for child in ast.iter_child_nodes(node):
            later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            checking = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
            if typing_only or checking:
                visit(child, False, True)
                continue
            if isinstance(child, ast.Import):
                found.extend((child, alias.name, immediate) for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.module:
                names = [f"{child.module}.{alias.name}" for alias in child.names]
                modules = names if child.module == "vsalient" else [child.module]
                found.extend((child, module, immediate) for module in modules)
            visit(child, immediate and not later, False)

    visit(tree, True, False)
    return found


def part_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


FILES = sorted(path for path in SOURCE.rglob("*.py") if part_of(path) not in ("__init__", "__main__"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_one_way(path: Path) -> None:
    part = part_of(path)
    if part == "cli":
        return
    assert part in ALLOWED, f"{part} is new: say in this test what it may import"
    for node, module, _ in imports(path):
        if module.startswith("vsalient."):
            other = module.split(".")[1]
            assert other == part or other in ALLOWED[part], (
                f"{path.name}:{node.lineno} {part} imports {other}"  # type: ignore[attr-defined]
            )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_torch_is_imported_only_where_it_is_used(path: Path) -> None:
    part = part_of(path)
    for node, module, immediate in imports(path):
        if module.split(".")[0] == "torch":
            where = f"{path.name}:{node.lineno}"  # type: ignore[attr-defined]
            assert part in TORCH_AT_IMPORT | TORCH_LATER | {"cli"}, f"{where} {part} imports torch"
            if part not in TORCH_AT_IMPORT and path.name != "lazy.py":
                assert not immediate, f"{where} must import torch within a function"


@pytest.mark.parametrize("verb", LIGHT_VERBS, ids=" ".join)
def test_help_loads_no_torch(verb: list[str]) -> None:
    if verb and not (SOURCE / "cli" / f"{verb[0]}.py").exists():
        pytest.skip("this verb is not built yet")
    arguments = verb if verb == ["models", "list"] else [*verb, "--help"]
    program = (
        "import sys\nfrom vsalient.cli.app import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit as end:\n    code = end.code\n"
        "heavy = [name for name in ('torch', 'av', 'scipy', 'skimage') if name in sys.modules]\n"
        "sys.exit(f'loaded {heavy}' if 'torch' in heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_package_and_its_root_help_are_instant() -> None:
    """Generous bounds, since a test machine may be busy; benchmarks/predict.py has the numbers."""
    program = "import sys, vsalient; sys.exit(len({'torch', 'numpy', 'cv2', 'av'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "vsalient", "--help"], check=True, capture_output=True)
    assert time.perf_counter() - start < 3


def test_no_module_leads_back_to_itself() -> None:
    """Imports of annotations and within functions included: a circle is a circle for who reads."""
    names = {
        ".".join(("vsalient", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__"): path
        for path in SOURCE.rglob("*.py")
    }
    graph: dict[str, set[str]] = {}
    for name, path in names.items():
        found: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module in names:
                whole = (f"{node.module}.{alias.name}" for alias in node.names)
                found |= {one if one in names else node.module for one in whole}
            elif isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names} & set(names)
        graph[name] = found - {name}
    while leaves := {name for name, others in graph.items() if not others & set(graph)}:
        for name in leaves:
            del graph[name]
    # What is left leads to a circle or lies in one.
    while ends := set(graph) - set().union(*graph.values(), set()):
        for name in ends:
            del graph[name]
    assert not graph, sorted(graph)
