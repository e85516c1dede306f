"""``python -m bench``: measure everything and print the table. Nothing here asserts: a loaded machine is no failure."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import bench
from bench.table import Figure, table


def main() -> int:
    """Run every module of this package that has figures; names given on the command line choose among them."""
    wanted = sys.argv[1:]
    figures: list[Figure] = []
    for module in sorted(one.name for one in pkgutil.iter_modules(bench.__path__)):
        if module.startswith("_") or (wanted and module not in wanted):
            continue
        measure = getattr(importlib.import_module(f"bench.{module}"), "figures", None)
        if measure is not None:
            print(f"measuring {module} …", file=sys.stderr)
            figures += measure()
    print(table(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
