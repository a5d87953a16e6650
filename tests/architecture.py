"""The rules of the package's architecture, as functions from a package folder to what breaks them.

`test_surface.py` asserts that the package breaks none, and that each planted violation is found.
"""

import ast
import sys
from collections.abc import Iterator
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

FLOORS = (
    ("errors",),
    ("files",),
    ("core",),
    ("objectives",),
    ("loss",),
    ("rewards", "data", "models", "sampling", "evaluation", "recipes", "engines"),
    ("lab",),
    ("cli", "__main__", "__init__"),
)
"""Parts of the package, from the bottom: a part imports from the floors below its own and from itself."""

SIBLINGS = {
    "data": {"rewards"},  # a gold is read by the kind of reward that checks it
    "sampling": {"data", "models"},
    "evaluation": {"data", "rewards", "sampling", "models"},
    "recipes": {"data", "rewards"},
    "engines": {"data", "rewards", "sampling", "models", "recipes"},
}
"""Arrows allowed on the middle floor; every other pair there is strangers to each other."""

ALONE = {
    "errors": set(),
    "files": {"filelock"},
    "core": {"torch", "jaxtyping"},  # the latter for type checkers and tests alone
    "objectives": {"torch"},
    "loss": {"torch"},
}
"""Parts that may import these packages, and beyond them the standard library alone."""

PLACES = {
    "trl": ("engines/trl/",),
    "accelerate": ("engines/trl/",),
    "verl": ("engines/verl/",),
    "ray": ("engines/verl/", "lab/race/on_ray.py"),
    "hydra": ("engines/verl/",),
    "omegaconf": ("engines/verl/",),
    "tensordict": ("engines/verl/",),
    "megatron": ("engines/verl/",),
    **{
        host: (f"engines/{place}",)
        for host, place in {
            "tinker": "tinker/",
            "prime_rl": "prime_rl.py",
            "skyrl": "skyrl.py",
            "rllm": "rllm.py",
            "trinity": "trinity_rft.py",
            "slime": "slime.py",
            "axolotl": "axolotl.py",
            "swift": "ms_swift.py",
        }.items()
    },
    "vllm": ("sampling/with_vllm.py",),
    "sglang": (),
    "peft": ("engines/trl/", "models/"),
    "transformers": ("engines/", "models/", "sampling/", "cli/"),
    "datasets": ("data/", "engines/trl/"),
    "math_verify": ("rewards/",),
    "latex2sympy2_extended": ("rewards/",),
    "pebble": ("rewards/",),
    "pydantic": ("recipes/", "evaluation/", "lab/"),
    "matplotlib": ("lab/",),
    "jinja2": ("lab/",),
    "typer": ("cli/",),
}
"""Packages that only these places of ours may import."""

ASKING: dict[str, tuple[str, str]] = {
    "objectives/__init__.py": ("*", "the registry itself"),
    "objectives/presets.py": (
        "*",
        "names of an objective with other advantages or another reduction",
    ),
    "lab/objective_list.py": ("*", "who takes part in a race when nobody is named"),
    "lab/explore/page.py": ("grpo maspo sapo", "the curves that a page shows first"),
    "core/advantages.py": ("gpg", "the advantage estimator of that name"),
    "recipes/sections/training.py": ("gpg", "the advantage estimator of that name"),
    "engines/verl/names.py": ("gpg", "the advantage estimator of that name"),
    "engines/fed.py": ("dr_grpo grpo luspo", "TRL's words for its normalisers"),
    "engines/ms_swift.py": ("grpo", "ms-swift's word for the kind of its trainer"),
    "engines/trl/model_card.py": ("grpo maspo", "tags of the model card"),
    "engines/trl/asynchronous.py": ("maspo", "tags of the model card"),
    "engines/trl/config.py": ("dr_grpo grpo luspo", "TRL's words for its normalisers"),
    "cli/gpus.py": ("maspo", "the command that several processes carry out"),
    "lab/provenance.py": ("maspo", "the package, whose version is noted"),
    "lab/race/folder.py": ("maspo", "the package, whose version is noted"),
    "lab/race/executors.py": ("maspo", "the command that a race runs"),
    "lab/race/runner.py": ("maspo", "what begins the command's errors"),
    "lab/scores/comparison.py": ("maspo", "the package, whose version is noted"),
}
"""By file: names of objectives that it may hold as data (* for all), and why. None branches on one."""


parsed = lru_cache(maxsize=None)(ast.parse)


def files_of(package: Path) -> Iterator[tuple[Path, str, ast.Module]]:
    """Yield path, place in the package and syntax tree of every module."""
    for file in sorted(package.rglob("*.py")):
        yield file, file.relative_to(package).as_posix(), parsed(file.read_text("utf-8"))


def part_of(place: str) -> str:
    """Return the part of the package that a file belongs to."""
    return place.partition("/")[0].removesuffix(".py")


def imported(tree: ast.Module, place: str) -> Iterator[tuple[str, int]]:
    """Yield each module or `module.name` that a file imports, at any depth of its code, and the line."""
    here = ["maspo", *place.removesuffix(".py").split("/")][:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = here[: len(here) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((f"{module}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__"):
            names = [a.value for a in node.args if isinstance(a, ast.Constant)]
            yield from ((str(name), node.lineno) for name in names)


def _called(node: ast.Call) -> str:
    return getattr(node.func, "attr", None) or getattr(node.func, "id", "")


def arrows(package: Path) -> Iterator[str]:
    """Name the imports that go up, across, or out of the package to what their part may not know."""
    floor = {part: rank for rank, parts in enumerate(FLOORS) for part in parts}
    for _, place, tree in files_of(package):
        part = part_of(place)
        if part not in floor:
            yield f"{place}: {part} has no floor in tests/architecture.py"
            continue
        for name, line in imported(tree, place):
            root, _, rest = name.partition(".")
            other = rest.partition(".")[0]
            if root != "maspo":
                yield from _strangers(part, place, root, line)
            elif part in ("__init__", "__main__"):
                continue
            elif other in ("", "__version__"):
                if floor[part] < floor["lab"]:
                    yield f"{place}:{line} imports maspo itself"
            elif other not in floor:
                yield f"{place}:{line} imports {name}: import it from the module where it lives"
            elif part != other and not _allowed(part, other, floor):
                yield f"{place}:{line} imports {name}: {part} may not know {other}"


def _allowed(part: str, other: str, floor: dict[str, int]) -> bool:
    return floor[other] < floor[part] or other in SIBLINGS.get(part, ())


def _strangers(part: str, place: str, root: str, line: int) -> Iterator[str]:
    standard = root in sys.stdlib_module_names
    if part in ALONE and not standard and root not in ALONE[part]:
        yield f"{place}:{line} imports {root}: {part} may not"
    if root in PLACES and not place.startswith(PLACES[root]):
        yield f"{place}:{line} imports {root}, which has a place of its own"


def circles(package: Path) -> Iterator[str]:
    """Name a circle of modules that import each other, at any depth of their code."""
    modules = {}
    for _, place, tree in files_of(package):
        name = "maspo." + place.removesuffix(".py").replace("/", ".")
        modules[name.removesuffix(".__init__")] = (place, tree)
    graph: dict[str, set[str]] = {}
    for module, (place, tree) in modules.items():
        found = {
            name if name in modules else name.rpartition(".")[0]
            for name, _ in imported(tree, place)
        }
        graph[module] = {name for name in found if name in modules} - {module}
    graph.pop("maspo", None)  # it imports whatever is asked of it
    try:
        TopologicalSorter({k: v - {"maspo"} for k, v in graph.items()}).prepare()
    except CycleError as error:
        yield " -> ".join(error.args[1])


HISTORIC = {"core/select.py"}
"""Modules that shadow the standard library and are on their way out."""


def shadows(package: Path) -> Iterator[str]:
    """Name the modules that are called as one of the standard library."""
    for file in sorted(package.rglob("*.py")):
        name = file.parent.name if file.name == "__init__.py" else file.stem
        place = file.relative_to(package).as_posix()
        if name in sys.stdlib_module_names and place not in HISTORIC:
            yield f"{place} shadows the standard library's {name}"


ONE_THING = {
    "DOOR": "what every door to another trainer offers under this name",
    "probe": "what of a host the doctor looks at",
    "loss": "an objective as a host's loss, by the name that its configuration is given",
    "register": "enters the objectives in a host's registry",
    "complete_rows": "the same question, asked of a model and of a trainer's policy",
    "ENGINE": "what every engine offers under this name",
    "SUPPORTED": "the window of versions of an engine's own framework",
    "OWNED_BY_THE_OBJECTIVE": "the settings of the framework's own losses, each engine's",
    "main": "where a script begins",
    "overlap": "the command, and what it prints",
    "plan": "the command, and what it prints",
    "replay": "the command, and what it carries out",
    "score": "the command, and what it carries out",
    "train": "the command, and what it carries out",
}
"""Names that several modules may define, each for one and the same thing."""


def homonyms(package: Path) -> Iterator[str]:
    """Name the public functions, classes and constants that more than one module defines."""
    homes: dict[str, set[str]] = {}
    for _, place, tree in files_of(package):
        for name in defined(tree):
            homes.setdefault(name, set()).add(place)
    for name, places in homes.items():
        if len(places) > 1 and name not in ONE_THING:
            yield f"{name} is defined in {' and in '.join(sorted(places))}"
    for name in ONE_THING:
        if len(homes.get(name, ())) < 2:
            yield f"{name} is allowed in several modules and is not in two"


def defined(tree: ast.Module) -> Iterator[str]:
    """Yield the public names that a module defines on its top level, in a branch of it too."""
    nodes: list[ast.AST] = list(tree.body)
    while nodes:
        node = nodes.pop()
        names: list[str] = []
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names = [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            parts = [part for target in targets for part in ast.walk(target)]
            names = [
                p.id for p in parts if isinstance(p, ast.Name) and isinstance(p.ctx, ast.Store)
            ]
        elif isinstance(node, ast.If | ast.Try | ast.With):
            nodes += ast.iter_child_nodes(node)
        yield from (name for name in names if not name.startswith("_"))


def asks(package: Path, names: set[str], classes: set[str]) -> Iterator[str]:
    """Name the places where code could ask which objective it has.

    Args:
        package: its folder.
        names: of the objectives, in recipes.
        classes: of the objectives, in Python.
    """
    for _, place, tree in files_of(package):
        for node in ast.walk(tree):
            held = {c.value for c in _held(node) if isinstance(c.value, str)}
            allowed = ASKING.get(place, ("", ""))[0].split()
            found = ({word for text in held for word in _words(text)} & names) - set(allowed)
            if found and allowed != ["*"]:
                yield f"{place}:{node.lineno} asks for {', '.join(sorted(found))}"
            kinds = {getattr(n, "id", getattr(n, "attr", "")) for n in _kinds(node)} & classes
            if kinds and part_of(place) != "objectives":
                yield f"{place}:{node.lineno} asks for {', '.join(sorted(kinds))}"


def _words(text: str) -> set[str]:
    """Split `grpo,maspo:alpha=0` into names."""
    return {word.partition(":")[0] for word in text.split(",")}


ASKED_BY = ("startswith", "endswith", "get", "pop", "index", "count", "find", "removeprefix")


def _held(node: ast.AST) -> Iterator[ast.Constant]:
    """Yield the constants of a node that compares, looks up or lists."""
    parts: list[ast.AST | None] = []
    if isinstance(node, ast.Compare):
        parts = [node.left, *node.comparators]
    elif isinstance(node, ast.Dict):
        parts = list(node.keys)
    elif isinstance(node, ast.Subscript):
        parts = [node.slice]
    elif isinstance(node, ast.MatchValue):
        parts = [node.value]
    elif isinstance(node, ast.List | ast.Set | ast.Tuple):
        parts = list(node.elts)
    elif isinstance(node, ast.Call) and _called(node) in ASKED_BY:
        parts = list(node.args)
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        listed = isinstance(node.value, ast.Constant) and "," in str(node.value.value)
        parts = [node.value] if listed else []
    yield from (part for part in parts if isinstance(part, ast.Constant))


def _kinds(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what stands where a type is asked for: isinstance, issubclass, `type(x) is ...`, match."""
    if isinstance(node, ast.Call) and _called(node) in ("isinstance", "issubclass"):
        yield from (n for part in node.args[1:] for n in ast.walk(part))
    elif isinstance(node, ast.MatchClass):
        yield node.cls
    elif isinstance(node, ast.Compare):
        yield from (n for part in [node.left, *node.comparators] for n in ast.walk(part))
