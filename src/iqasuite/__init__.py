"""Experiments on image quality as individual observers see it.

This is the public interface; every other name may move. Each is imported when it is first used, so that `import
iqasuite` takes no time.
"""

from importlib import import_module

_PUBLIC = {
    "InputError": "errors.InputError",
    "load_dataset": "datasets.load",
    "create_model": "models.create",
    "load_weights": "weights.files.load_weights",
    "save_weights": "weights.files.save_weights",
    "load_predictor": "inference.predictor.load_predictor",
    "load_full_reference": "inference.pairs.load_full_reference",
    "predict_pairs": "inference.pairs.predict_pairs",
    "Run": "experiments.run.Run",
}
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'iqasuite' has no attribute {name!r}; expected one of {', '.join(_PUBLIC)}")
    module, _, attribute = _PUBLIC[name].rpartition(".")
    return getattr(import_module(f"iqasuite.{module}"), attribute)


def __dir__() -> list[str]:
    return __all__
