"""Import every module of the package: none may need an extra."""

import importlib
import pkgutil

import langwright

names = [module.name for module in pkgutil.walk_packages(langwright.__path__, "langwright.")]
for name in names:
    importlib.import_module(name)
print(f"{len(names)} modules imported")
