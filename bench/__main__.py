"""``python -m bench``: measure everything and print the table. Nothing here asserts: a loaded machine is no failure."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import bench
from bench.placement import where
from bench.table import Figure, table


def main() -> int:
    """Run every module of this package that has figures; names given on the command line choose among them."""
    modules = sorted(one.name for one in pkgutil.iter_modules(bench.__path__) if not one.name.startswith("_"))
    found = {name: getattr(importlib.import_module(f"bench.{name}"), "figures", None) for name in modules}
    measures = {name: measure for name, measure in found.items() if measure is not None}
    wanted = sys.argv[1:] or list(measures)
    if unknown := [name for name in wanted if name not in measures]:
        print(f"bench: no {', '.join(unknown)}; there are {', '.join(measures)}", file=sys.stderr)
        return 2
    figures: list[Figure] = []
    for name in wanted:
        print(f"measuring {name} …", file=sys.stderr)
        figures += measures[name]()
    print(table(figures))
    print(f"\n{where()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
