"""An objective as a graph of torch functions, recorded while its own code runs.

Tinker's server takes a loss that torch.fx can trace: no branches, nothing but torch. The code of an
objective looks at shapes, dtypes and devices, which tracing cannot follow. Here it runs on numbers that
remember what was done to them, along the way that it takes on a GPU, which has no branches; the
recording is then compared with the objective on other numbers. There is no second formula.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torch.utils._pytree import tree_map

from maspo.errors import InputError

LOOKS = ("numel", "dim", "size", "is_floating_point", "is_complex", "stride", "__len__")
"""Methods that look at a tensor and not at its numbers."""

READS = ("__bool__", "__float__", "__int__", "__index__", "item", "tolist", "numpy")
"""Methods that turn numbers into Python's, which no recording can follow."""


class Recorded(Tensor):
    """A tensor of example numbers, and the node of the graph that computes them."""

    graph: Graph
    node: Node

    @classmethod
    def of(cls, example: Tensor, graph: Graph, node: Node) -> Recorded:
        """Attach a node to example numbers."""
        made = example.as_subclass(cls)
        made.graph, made.node = graph, node
        return made

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Run a function on the numbers, and enter it in the graph where it makes a tensor."""
        kwargs = kwargs or {}
        name = func.__name__
        first = args[0] if args else None
        if name == "__get__":  # an attribute
            seen = getattr(func, "__self__", None)
            if getattr(seen, "__name__", "") == "is_cuda":
                return True  # the way without branches
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **kwargs)
        if name in READS:
            raise InputError(f"its code reads numbers ({name}), which cannot be recorded")
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*args, **kwargs)
        if name in LOOKS or not isinstance(result, Tensor):
            if isinstance(result, tuple | list) and any(isinstance(x, Tensor) for x in result):
                raise InputError(f"its code calls {name}, which gives several tensors")
            return result
        graph = next(x.graph for x in _recorded(args, kwargs))
        if isinstance(first, Recorded) and _is_identity(name, first, result):
            return Recorded.of(result, graph, first.node)
        node = _enter(graph, func, name, *tree_map(_plain, (args, kwargs)))
        if name.endswith("_") and not name.endswith("__"):
            assert isinstance(first, Recorded)
            first.node = node  # what was changed in place is a new value
            return first
        return Recorded.of(result, graph, node)


def _recorded(args: Any, kwargs: Any) -> list[Recorded]:
    found: list[Recorded] = []
    tree_map(lambda x: found.append(x) if isinstance(x, Recorded) else None, (args, kwargs))
    return found


def _is_identity(name: str, before: Tensor, after: Tensor) -> bool:
    """Whether a call changed nothing: everything recorded here is without gradient already."""
    if name == "detach":
        return True
    return name in ("to", "bool", "float", "double", "contiguous") and before.dtype == after.dtype


def _plain(x: Any) -> Any:
    """Turn what a graph cannot hold into what it can."""
    if isinstance(x, Recorded):
        return x.node
    if isinstance(x, Tensor):
        raise InputError("its code brings a tensor of its own, which cannot be recorded")
    return tuple(x) if isinstance(x, torch.Size) else x


def _enter(graph: Graph, func: Callable, name: str, args: tuple, kwargs: dict) -> Node:
    """Enter a call: an operator, a method without its in-place form, or a function of torch."""
    word = name.strip("_")
    if name.startswith("__") and not hasattr(operator, word) and word not in ("and", "or"):
        args, word = args[::-1], {"rdiv": "truediv"}.get(word, word.removeprefix("r"))
    if name.startswith("__"):
        found = getattr(operator, f"__{word}__", None)
        if found is None:
            raise InputError(f"its code calls {name}, which cannot be recorded")
        return graph.call_function(found, args, kwargs)
    if getattr(torch, name, None) is func:
        return graph.call_function(func, args, kwargs)
    plain = name.rstrip("_")
    if not hasattr(Tensor, plain):
        raise InputError(f"its code calls {name}, which no graph of torch can hold")
    return graph.call_method(plain, args, kwargs)


def record(function: Callable[..., dict[str, Any]], examples: dict[str, Tensor]) -> GraphModule:
    """Record a function of tensors that returns a dict of tensors, on example numbers.

    The result takes the tensors in the order of `examples`. Raises InputError, in half a sentence,
    where the function does what a graph cannot hold.
    """
    graph = Graph()
    inputs = {
        name: Recorded.of(example, graph, graph.placeholder(name))
        for name, example in examples.items()
    }
    with torch.no_grad():
        found = function(**inputs)
    graph.output({name: value.node for name, value in found.items()})
    graph.eliminate_dead_code()
    graph.lint()
    return GraphModule(torch.nn.Module(), graph)
