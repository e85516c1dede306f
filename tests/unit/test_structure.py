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
    ("modemtls.host",),
    ("modemtls.net",),
    ("modemtls.sockets",),
    ("modemtls.api",),
    ("modemtls",),
    ("modemtls.cli", "modemtls.__main__"),
]
NEUTRAL = ("modemtls.transcript.", "modemtls.tlsengine.")
IMPORTERS = {"__import__", "import_module"}
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
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in IMPORTERS:
            inside = [part for argument in node.args for part in ast.walk(argument)]
            found.update(a.value for a in inside if isinstance(a, ast.Constant) and isinstance(a.value, str))
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


LOADERS = {"imp", "importlib", "pkgutil", "ruamel", "runpy", "yaml", "zipimport"}  # of code or data, by a name
EXECUTORS = {"__import__", "compile", "eval", "exec"}
ATTRIBUTES = {"delattr", "getattr", "hasattr", "setattr"}  # what they are given names nothing outside an object
PROFILES = re.compile(r"(?:^|[/\\\\])profiles(?:[/\\\\]|$)")
DRIVER = re.compile(r"\bmodemtls\.(?!sim\b|tlsengine\b|transcript\b|errors\b)\w")


def learned(text: str) -> list[str]:
    """Every way in which a file of the simulator, or one it leads to, may come to know what a profile says."""
    found: list[str] = []
    tree = ast.parse(text)
    names = {
        id(argument)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ATTRIBUTES
        for argument in node.args[1:2]
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [f"loads with {each.name}" for each in node.names if each.name.partition(".")[0] in LOADERS]
        elif isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").partition(".")[0] in LOADERS:
            found.append(f"loads with {node.module}")
        elif isinstance(node, ast.Name) and node.id in EXECUTORS:
            found.append(f"executes with {node.id}")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in names:
            if PROFILES.search(node.value):
                found.append(f"names the profiles: {node.value!r}")
            if DRIVER.search(node.value):
                found.append(f"names a module of the driver: {node.value!r}")
    return found + [f"names a file {hit}" for hit in re.findall(r"\.ya?ml\b", text)]


def files_of(module: str) -> list[Path]:
    """The file of a module, and of each package that it is in but the outermost, which is loaded by everybody."""
    parts = module.split(".")
    bases = [ROOT.joinpath(*parts[:length]) for length in range(2, len(parts) + 1)]
    candidates = [path for base in bases for path in (base / "__init__.py", base.with_suffix(".py"))]
    return [path.resolve() for path in candidates if path.is_file()]


def led_to(start: list[Path]) -> list[Path]:
    """All files that importing these leads to, themselves included."""
    found: set[Path] = set()
    waiting = list(start)
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += [each for module in imports(path) for each in files_of(module)]
    return sorted(found)


@pytest.mark.parametrize("path", sim_files(), ids=module_name)
def test_the_simulator_knows_neither_driver_nor_profiles(path: Path) -> None:
    allowed = {n for n in imports(path) if f"{n}.".startswith(("modemtls.sim.", *NEUTRAL))}
    assert imports(path) == allowed, f"{module_name(path)} imports {imports(path) - allowed}"


def test_nothing_that_the_simulator_runs_has_a_way_to_a_profile() -> None:
    found = {module_name(path): learned(path.read_text()) for path in led_to(sim_files())}
    assert {name: ways for name, ways in found.items() if ways} == {}


@pytest.mark.parametrize(
    "planted",
    [
        "from pathlib import Path\nPath(__file__).parent.joinpath('profiles', 'x')",
        "open('../profiles/x')",
        "open('modemtls\\\\profiles\\\\x')",
        "DATA = 'x.yaml'",
        "def f():\n    import yaml",
        "from ruamel.yaml import YAML",
        "import importlib.resources as r",
        "from importlib import import_module as load",
        "import pkgutil",
        "load = __import__",
        "exec('import ' + name)",
        "COMMAND = (python, '-m', 'modemtls.profile.loading')",
        "getattr(open('profiles'), 'name')",
    ],
)
def test_a_planted_way_to_a_profile_is_found(planted: str) -> None:
    assert learned(planted) != []


def test_what_the_simulator_leads_to_is_followed_through_others() -> None:
    names = {module_name(path) for path in led_to(sim_files())}
    assert {"modemtls.sim.machine", "modemtls.tlsengine", "modemtls.tlsengine.openssl_context"} <= names
    through = {module_name(path) for path in led_to([PACKAGE / "cli" / "explain.py"])}
    assert {"modemtls.dialogue.explain", "modemtls.profile.loading", "modemtls.transcript"} <= through


def test_what_only_sounds_like_it_is_left_alone() -> None:
    assert learned("hasattr(self, 'profiles')\nnote('this module has no PSD profiles')\nre.compile('x')") == []


# Runs every simulated modem as far as its first answers, and tells which files and modules that took.
WATCHED = """
import os, select, sys
touched = set()
def hook(event, given):
    if event in {"open", "os.listdir", "os.scandir"} and isinstance(given[0], (str, bytes, os.PathLike)):
        touched.add(os.path.realpath(os.fsdecode(given[0])))
sys.addaudithook(hook)
import importlib, pkgutil
import modemtls.sim, modemtls.tlsengine
for package in modemtls.sim, modemtls.tlsengine:
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if module.name != "modemtls.sim.pytest_plugin":
            try:
                importlib.import_module(module.name)
            except ImportError as error:
                assert not (error.name or "").startswith("modemtls"), error
from modemtls.sim import embedded, personalities
models = [] if sys.argv[1:] else personalities.models()
for model in models:
    with embedded.open(model) as modem:
        fd = os.open(modem.path, os.O_RDWR | os.O_NOCTTY)
        got = b""
        for _ in range(100):  # one that is still starting does not hear it
            os.write(fd, b"AT+CGMM\\r\\n")
            while select.select([fd], [], [], 0.1)[0]:
                got += os.read(fd, 4096)
            if b"OK" in got:
                break
        assert b"OK" in got, (model, got)
        os.close(fd)
if sys.argv[1:]:
    exec(sys.argv[1])
print(*models, sep="\\n")
print()
print(*touched, sep="\\n")
print()
print(*sys.modules, sep="\\n")
"""


def run_watched(*planted: str) -> tuple[list[str], list[str], list[str]]:
    """The models that were run; files of the profiles, and modules, that a simulator must not touch."""
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *planted], capture_output=True, text=True, check=False, cwd=ROOT, timeout=60
    )
    assert done.returncode == 0, done.stderr
    models, touched, modules = (part.split("\n") for part in done.stdout.split("\n\n"))
    profiles = (ROOT / "profiles").resolve()
    files = [p for p in touched if p.endswith((".yaml", ".yml")) or Path(p).is_relative_to(profiles)]
    mine = ("modemtls.sim.", "modemtls.errors.", *NEUTRAL)
    foreign = [
        name for name in modules if name == "yaml" or (name.startswith("modemtls.") and not f"{name}.".startswith(mine))
    ]
    return models, files, foreign


def test_a_running_simulator_reads_no_profile_and_loads_nothing_of_the_driver() -> None:
    models, files, foreign = run_watched()
    assert len(models) >= 2
    assert files == []
    assert foreign == []


@pytest.mark.parametrize(
    "planted",
    [
        "open('pro' + 'files/quectel-bg95.yaml').close()",
        "os.listdir('modemtls/pro' + 'files')",
        "importlib.import_module('modemtls.pro' + 'file')",
    ],
)
def test_a_running_simulator_that_looks_is_seen(planted: str) -> None:
    _, files, foreign = run_watched(planted)
    assert files or foreign


def runs_of_words(text: str, length: int = 8) -> set[str]:
    words = re.findall(r"[A-Za-z]{2,}", text.lower())
    return {" ".join(words[at : at + length]) for at in range(len(words) - length + 1)}


def test_neither_simulator_nor_profiles_were_copied_from_the_other() -> None:
    """Titles of the same manuals aside, two who do not read each other do not write eight equal words in a row."""
    profiles = set().union(*(runs_of_words(p.read_text()) for p in (ROOT / "profiles").rglob("*.yaml")))
    assert len(profiles) > 1000
    for path in sim_files():
        assert not runs_of_words(path.read_text()) & profiles, module_name(path)


@pytest.mark.parametrize(
    "module", ["modemtls.net.contract", "modemtls.transcript", "modemtls.tlsengine", "modemtls.errors"]
)
def test_the_neutral_modules_lean_on_errors_alone(module: str) -> None:
    base = ROOT / module.replace(".", "/")
    paths = sorted(base.rglob("*.py")) if base.is_dir() else [base.with_suffix(".py")]
    for path in paths:
        for name in imports(path):
            assert name.startswith((module, "modemtls.errors")), f"{module} imports {name}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "host").glob("*.py")), ids=module_name)
def test_tls_on_the_host_knows_the_contract_and_the_engine_alone(path: Path) -> None:
    for name in imports(path):
        known = ("modemtls.host", "modemtls.net.contract", "modemtls.tlsengine", "modemtls.errors")
        assert f"{name}.".startswith(tuple(f"{each}." for each in known)), f"{module_name(path)} imports {name}"


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
