"""The documents are true: the README's Python and shell examples run, as printed, against a simulated modem.

Only the name of the port is another one; the hosts of the examples are servers on this machine.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modemtls.cli.parser import parse
from modemtls.cli.table import COMMANDS
from modemtls.sim.process import ModemProcess
from tests.support import installing, servers
from tests.support.installing import needs_pip
from tests.support.pki import Pki

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def first_words(block: str) -> str:
    return re.sub(r"\W+", "-", block)[:40]


@pytest.fixture(scope="module")
def port(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A modem that finds www.example and, where Mosquitto is installed, broker.example."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "index.html").write_text("<p>a page</p>\n")
    broker = servers.mosquitto(folder, pki.leaf("broker.example"), pki.ca)
    with (
        servers.https(pki.leaf("www.example"), folder) as web,
        broker as mqtt,
        ModemProcess(
            "quectel-bg95", "--map", f"www.example=127.0.0.1:{web}", "--map", f"broker.example=127.0.0.1:{mqtt}"
        ) as modem,
    ):
        yield modem.path


@pytest.fixture
def folder(pki: Pki, tmp_path: Path) -> Path:
    """Where an example runs: with the CA, and a `modemtls` that is this one."""
    (tmp_path / "ca.pem").write_bytes(pki.ca.read_bytes())
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "modemtls"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -W error -m modemtls "$@"\n')
    program.chmod(0o755)
    return tmp_path


def environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MODEMTLS_")}
    return {
        **kept,
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "XDG_CONFIG_HOME": str(folder / "none"),
    }


PROGRAMS = [block for block in blocks("python") if "def test_" not in block]
TESTS = [block for block in blocks("python") if "def test_" in block]


@pytest.mark.server
@pytest.mark.parametrize("block", PROGRAMS, ids=first_words)
def test_python_examples_run(block: str, port: str, folder: Path) -> None:
    code = block.replace("/dev/ttyUSB2", port)
    assert code != block
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "200" in done.stdout


def test_tests_find_their_fixtures_by_themselves(folder: Path) -> None:
    (folder / "test_example.py").write_text("\n".join(TESTS))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_example.py"],
        cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


@pytest.mark.server
@pytest.mark.parametrize("block", blocks("sh"), ids=first_words)
def test_shell_examples_run(block: str, port: str, folder: Path) -> None:
    code = block.replace("/dev/ttyUSB2", port)
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", code],
        cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "quectel-bg95" in done.stdout


def test_installing_works_as_printed(tmp_path: Path) -> None:
    """Without a network, which is all that differs: what pip would fetch is there already."""
    needs_pip()
    (block,) = blocks("bash")
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python3"
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    offline = installing.environment(
        HOME=str(tmp_path),
        PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        PYTHONPATH=str(installing.dependencies(tmp_path / "dependencies")),
        PIP_NO_DEPS="1",
        PIP_NO_BUILD_ISOLATION="0",  # as pip has it: "no" to isolation is a false value
    )
    done = subprocess.run(
        ["bash", "-e", "-c", block + "command -v modemtls\nmodemtls -p sim:quectel-bg95 info --json\n"],
        cwd=installing.checkout(tmp_path / "checkout"),
        env=offline, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^modemtls \d", done.stdout, re.MULTILINE)
    assert f"\n{tmp_path}/.venvs/modemtls/bin/modemtls\n" in done.stdout
    assert '"profile": "quectel-bg95"' in done.stdout


def test_the_program_is_where_the_readme_says_after_make() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert "`.venv/bin/modemtls`" in README
    assert "VENV   := .venv\n" in makefile
    assert "$(BIN)/modemtls demo" in makefile


def test_there_is_something_to_run() -> None:
    assert len(PROGRAMS) >= 3
    assert TESTS
    assert len(blocks("sh")) >= 2


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_commands_named_in_documents_exist(path: Path) -> None:
    known = {c.words[0] for c in COMMANDS}
    for word in re.findall(r"`modemtls ([a-z]+)", path.read_text()):
        assert word in known, word


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.name)
def test_examples_in_help_texts_are_commands_that_parse(command) -> None:
    for example in command.examples:
        for part in re.split(r"\||&|;", example):
            words = shlex.split(part.replace("$(", " ").replace(")", " "), comments=True)
            if "modemtls" not in words:
                continue
            rest = words[words.index("modemtls") + 1 :]
            if ">" in rest:
                rest = rest[: rest.index(">")]
            found, _ = parse(rest)
            assert found is not None, example


def test_the_table_of_modems_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "modemtls", "profiles", "--markdown"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert (ROOT / "docs" / "modems.md").read_text() == done.stdout, "modemtls profiles --markdown > docs/modems.md"
