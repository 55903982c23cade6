"""medtrain: train on medical images on a Slurm cluster, and never lose work.

The names below are what a program needs. Each is imported when it is first used: `import medtrain` costs nothing, and
executes nothing that lies in the working folder (see core.search_path).
"""

__version__ = "0.1.0"
__all__ = [
    "Config",
    "Loader",
    "Predictor",
    "Run",
    "label_report",
    "load_best_model",
    "open_index",
    "open_run",
    "open_webdataset",
]

TYPE_CHECKING = False  # as typing has it, without importing it
if TYPE_CHECKING:
    from medtrain.config.schema import Config
    from medtrain.datasets.report_labeler import label_report
    from medtrain.evaluation.inference import load_best_model, open_run
    from medtrain.evaluation.predict import Predictor
    from medtrain.loading.loader import Loader
    from medtrain.runs.run import Run
    from medtrain.shards.index import open_index
    from medtrain.shards.webdataset_pipeline import open_webdataset

_PLACES = {
    "Config": "config.schema",
    "Loader": "loading.loader",
    "Predictor": "evaluation.predict",
    "Run": "runs.run",
    "label_report": "datasets.report_labeler",
    "load_best_model": "evaluation.inference",
    "open_index": "shards.index",
    "open_run": "evaluation.inference",
    "open_webdataset": "shards.webdataset_pipeline",
}


def __getattr__(name: str) -> object:  # PEP 562
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
