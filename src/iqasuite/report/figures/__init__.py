"""Every figure of the suite, by name: each public function of these modules that returns a matplotlib Figure."""

from importlib import import_module
from inspect import getmembers, isfunction
from pkgutil import iter_modules

for _module in (import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__) if found.name != "style"):
    for _name, _function in getmembers(_module, isfunction):
        _own = _function.__module__ == _module.__name__ and not _name.startswith("_")
        if _own and _function.__annotations__.get("return") == "Figure":
            globals()[_name] = _function
