"""What training as written never uses of PyTorch, torchvision and timm, imported only where something asks for it.

torch._dynamo, with sympy, FSDP and 800 modules more, is imported by torchvision (for an operator of detection), by each
optimizer and by DDP, which then ask it nothing but to stay out of the way; DTensor is imported by Accelerate, to ask
whether a model holds one; wandb by timm. That is 2 of the 8.5 CPU seconds of a rank's start, 4 with a network of timm,
and a good part of its memory (PyTorch 2.14, timm 1.0). Nothing that PyTorch imports by itself is left out, though some
of it seems to be for compiling alone: torch.Generator, for one, fails without torch._meta_registrations.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.abc import Loader, MetaPathFinder
else:
    Loader = MetaPathFinder = object  # these abstract classes would cost 20 ms, and give nothing


def install() -> None:
    """From now on stand-ins answer in place of these modules; the first question that one cannot answer brings in the
    real one. For a process of medtrain's own, before anything of the kind is imported."""
    if FINDER not in sys.meta_path and not any(name in sys.modules for name in STAND_INS):
        FINDER.waiting = set(STAND_INS)
        sys.meta_path.insert(0, FINDER)


def load(name: str) -> None:
    """Take a stand-in away, of PyTorch all, which ask each other: whoever imports the module after this, or has
    imported it, gets the real one."""
    own = [each for each in STAND_INS if each == name or (each.startswith("torch.") and name.startswith("torch."))]
    FINDER.waiting -= set(own)
    stood = {each: module for each in own if isinstance(module := sys.modules.get(each), StandIn)}
    for each, module in reversed(stood.items()):
        del sys.modules[each]
        parent, _, child = each.rpartition(".")
        if vars(sys.modules[parent]).get(child) is module:
            delattr(sys.modules[parent], child)
    for each in stood:  # at once: who asks may be in the middle of importing what the stand-in had been a part of
        importlib.import_module(each)


class StandIn(ModuleType):
    """In a module's place: the answers of STAND_INS, and for all else the module itself."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # a look at the module, as inspect and warnings have
            raise AttributeError(name)
        return getattr(_real(self.__name__), name)


class _Finder(MetaPathFinder):
    """Finds stand-ins; of their submodules, the real ones."""

    def __init__(self) -> None:
        self.waiting: set[str] = set()  # modules that have not been asked for

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name in self.waiting:
            return ModuleSpec(name, _Maker(), is_package=True)
        if name.startswith(tuple(f"{package}." for package in self.waiting)):
            return ModuleSpec(name, _Found(_real(name)))
        return None


class _Maker(Loader):
    """Makes stand-ins."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(STAND_INS[module.__name__])


class _Found(Loader):
    """Hands out a module that is imported already: to import it twice would make two of it."""

    def __init__(self, module: ModuleType) -> None:
        self._module, self._spec = module, module.__spec__
        module.__spec__ = None  # importlib would take this one, and load the module again

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


def _real(name: str) -> ModuleType:
    for each in STAND_INS:
        if each in FINDER.waiting and f"{name}.".startswith(f"{each}."):
            load(each)
    return importlib.import_module(name)


def _later(module: str, name: str) -> Callable[..., Any]:
    """A function of a module that is imported when it is called."""
    return lambda *args, **options: getattr(_real(module), name)(*args, **options)


def _disable(fn: Callable[..., Any] | None = None, *args: Any, **options: Any) -> Any:
    """While nothing is compiled a function that must not be is itself."""
    if fn is None:
        return _real("torch._dynamo").disable(fn, *args, **options)

    def call(*its: Any, **own: Any) -> Any:
        if "torch._dynamo" in FINDER.waiting:
            return fn(*its, **own)
        return _real("torch._dynamo").disable(fn, *args, **options)(*its, **own)

    return call


def _no_stance(*args: Any, **options: Any) -> AbstractContextManager[None]:
    """How compiled code is run, while there is none."""
    return nullcontext()


class _NoDTensor:
    """Nothing is one while the module that makes them is not imported."""


STAND_INS: dict[str, dict[str, Any]] = {
    "torch._dynamo": {
        "graph_break": lambda: None,
        "disable": _disable,
        "set_stance": _no_stance,
        "trace_rules": SimpleNamespace(clear_lru_cache=lambda: None),
    },
    "torch._dynamo.utils": {
        "is_compile_supported": _later("torch._dynamo.utils", "is_compile_supported"),
        "get_optimize_ddp_mode": lambda: "ddp_optimizer",  # its default; for compiled code alone
    },
    "torch.distributed.tensor": {"DTensor": _NoDTensor},
    "torchvision.datasets": {},
    "torchvision.ops._register_onnx_ops": {"_register_custom_op": lambda: None},  # names for ONNX, of detection alone
    "timm.data.dataset_factory": {"create_dataset": _later("timm.data.dataset_factory", "create_dataset")},
    "timm.utils.summary": {  # imports wandb
        name: _later("timm.utils.summary", name) for name in ("get_outdir", "trim_summary", "update_summary")
    },
}
FINDER = _Finder()
