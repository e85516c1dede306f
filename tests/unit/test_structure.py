"""The house: who may import whom, who may name a vendor, how long a module may be."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "modemtls"
LINKS = ("modemtls/sim", "modemtls/profiles")

# Lowest first. A module may import from its own layer and from those before it.
LAYERS: list[tuple[str, ...]] = [
    ("modemtls.errors",),
    ("modemtls.transcript", "modemtls.tlsengine", "modemtls.net.contract"),
    ("modemtls.at",),
    ("modemtls.profile",),
    ("modemtls.modem",),
    ("modemtls.dialogue",),
    ("modemtls.net",),
    ("modemtls.sockets",),
    ("modemtls.api",),
    ("modemtls",),
    ("modemtls.cli", "modemtls.__main__"),
]
NEUTRAL = ("modemtls.transcript.", "modemtls.tlsengine.")
SIM_IMPORTERS = ("modemtls.cli", "modemtls.at.port")


def driver_files() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if not p.relative_to(ROOT).as_posix().startswith(LINKS))


def sim_files() -> list[Path]:
    return sorted((ROOT / "sim").rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[0] == "sim":
        parts = ("modemtls", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> set[str]:
    """Every modemtls module that a file imports anywhere, lazily or not, but for type checking only."""
    found: set[str] = set()
    package = module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *([base] if base else [])])
            for alias in node.names:
                candidate = f"{base}.{alias.name}"
                is_module = (ROOT / candidate.replace(".", "/")).exists() or (
                    ROOT / (candidate.replace(".", "/") + ".py")
                ).exists()
                found.add(candidate if is_module else base)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "import_module":
            found.update(a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str))
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return {name for name in found if name == "modemtls" or name.startswith("modemtls.")}


def layer(name: str) -> int:
    best, length = -1, -1
    for index, prefixes in enumerate(LAYERS):
        for prefix in prefixes:
            exact_only = prefix == "modemtls"
            hit = name == prefix or (not exact_only and name.startswith(prefix + "."))
            if hit and len(prefix) > length:
                best, length = index, len(prefix)
    return best


@pytest.mark.parametrize("path", driver_files(), ids=module_name)
def test_nothing_imports_upward(path: Path) -> None:
    me = module_name(path)
    assert layer(me) >= 0, f"{me} belongs to no layer: say where it stands"
    for name in imports(path):
        if name == "modemtls.sim" or name.startswith("modemtls.sim."):
            assert me.startswith(SIM_IMPORTERS), f"{me} imports the simulator"
            continue
        assert layer(name) <= layer(me), f"{me} (layer {layer(me)}) imports {name} (layer {layer(name)})"


@pytest.mark.parametrize("path", sim_files(), ids=module_name)
def test_the_simulator_knows_neither_driver_nor_profiles(path: Path) -> None:
    allowed = {n for n in imports(path) if f"{n}.".startswith(("modemtls.sim.", *NEUTRAL))}
    assert imports(path) == allowed, f"{module_name(path)} imports {imports(path) - allowed}"
    assert "profiles" not in re.findall(r"[\"']([^\"']*)[\"']", path.read_text())
    assert not re.search(r"\bimport yaml\b|\.ya?ml\b", path.read_text()), "a simulator that reads a profile"


@pytest.mark.parametrize(
    "module", ["modemtls.net.contract", "modemtls.transcript", "modemtls.tlsengine", "modemtls.errors"]
)
def test_the_neutral_modules_lean_on_errors_alone(module: str) -> None:
    base = ROOT / module.replace(".", "/")
    paths = sorted(base.rglob("*.py")) if base.is_dir() else [base.with_suffix(".py")]
    for path in paths:
        for name in imports(path):
            assert name.startswith((module, "modemtls.errors")), f"{module} imports {name}"


VENDORS = re.compile(
    r"quectel|u-?blox|simcom|telit|sequans|murata|altair|nordic|\bBG9[56]|\bBG77|\bEC2[15]|SARA-|LARA-|nRF9|"
    r"(?-i:\+Q[A-Z]{2,})|"
    r"\bQ(?:SSL[A-Z]*|FTP[A-Z]*|HTTP[A-Z]*|SMTP[A-Z]*|MT[A-Z]{3,}|GPS[A-Z]*|CCID|CFG|CSQ|ENG|GMR|INISTAT|LTS|NTP|NWINFO|"
    r"PINC|PING|POWD|PSM[A-Z]*|SIMSTAT|URCCFG|USIM|"
    r"I(?:ACT|CFG|CLOSE|CSGP|DEACT|DNS[A-Z]*|GETERROR|ND|OPEN|RD|SDE|SEND(?:EX)?|STATE|SWTMD|URC)|"
    r"F(?:CLOSE|DEL|DWL|LDS|LST|OPEN|POSITION|READ|SEEK|UPL|WRITE))\b|"
    r"\bCCH[A-Z]+|\bUSO[A-Z]+|#X[A-Z]+|%CMNG",
    re.IGNORECASE,
)


def named(path: str, text: str) -> list[str]:
    """Each line of a driver's file that names a vendor, a model or a vendor's command."""
    lines = enumerate(text.splitlines(), 1)
    return [f"{path}:{number}: {hit!r}: {line.strip()}" for number, line in lines for hit in VENDORS.findall(line)]


@pytest.mark.parametrize("path", driver_files(), ids=module_name)
def test_the_driver_names_no_vendor(path: Path) -> None:
    assert named(path.relative_to(ROOT).as_posix(), path.read_text()) == []


def test_a_planted_name_is_found_in_every_file() -> None:
    """All commands that a profile or a dialogue has, as they are and without what stands before them."""
    sources = [*(ROOT / "profiles").glob("*.yaml"), *(ROOT / "tests" / "transcripts").rglob("*.at")]
    vendors = sorted({name for path in sources for name in re.findall(r"\+(Q[A-Z]{2,})\b", path.read_text())})
    assert len(vendors) > 30
    for name in vendors:
        for text in (f"send = b'AT+{name}=1'", f"# {name} says so", f"+{name}: 1"):
            for path in ("modemtls/cli/demo.py", "modemtls/at/codec.py"):
                assert len(named(path, text)) == 1, text
    planted = named("modemtls/cli/demo.py", '\nMODEL = "quectel-bg95"\n')
    assert planted[0] == "modemtls/cli/demo.py:2: 'quectel': MODEL = \"quectel-bg95\""
    assert named("modemtls/cli/demo_server.py", "Quectel")
    assert not named("modemtls/at/resync.py", "QUIET = 1; queue, quoted, Question, UNIQUE, 'Quick+Quiet'")


@pytest.mark.parametrize("path", [*driver_files(), *sim_files()], ids=module_name)
def test_modules_stay_readable(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 700


def test_a_planted_breach_is_found(tmp_path: Path) -> None:
    """The scanner itself can fail: an upward and a lazy import are both seen."""
    planted = tmp_path / "x.py"
    planted.write_text("def f():\n    from modemtls.api import open\n    import modemtls.cli\n")
    tree = planted.read_text()
    found = {
        node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(ast.parse(tree))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert found == {"modemtls.api", "modemtls.cli"}
    order = ["modemtls.api", "modemtls.net.offload", "modemtls.modem.attached", "modemtls.at"]
    assert [layer(name) for name in order] == sorted({layer(name) for name in order}, reverse=True)


def test_importing_the_package_is_cheap() -> None:
    code = (
        "import sys, modemtls\n"
        "heavy = {'ssl', 'yaml', 'serial', 'OpenSSL', 'cryptography', 'asyncio'} & set(sys.modules)\n"
        "sys.exit(','.join(sorted(heavy)) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
