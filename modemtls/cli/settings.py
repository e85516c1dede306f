"""Where a command's values come from: the command line, then the environment, then the configuration file."""

from __future__ import annotations

import argparse
import binascii
import os
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from modemtls.cli.parser import KINDS, refuse
from modemtls.cli.table import COMMANDS, GLOBALS, Argument, Command

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Settings", "expanded"]

LONGEST_SECRET = 1024
LONGEST_FILE = 1 << 16


def expanded(path: str) -> Path:
    """Return a path with the home directory for ``~``. Raises :class:`OSError` if nobody knows whose that is."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise OSError(f"{path}: whose home directory that is, is not known") from None


class Settings:
    """The values of one run. Secrets are read when they are asked for, and never shown."""

    def __init__(
        self, command: Command, options: argparse.Namespace, environment: Mapping[str, str] | None = None
    ) -> None:
        self.command = command
        self.options = options
        self.environment = os.environ if environment is None else environment
        self._file: dict[str, object] | None = None
        self._known = {a.dest: a for a in (*GLOBALS, *command.arguments)}

    def __repr__(self) -> str:
        return f"<Settings of {self.command.name}>"

    def refuse(self, message: str) -> NoReturn:
        """Wrong usage: one line, exit code 2."""
        refuse(message, self.command.words)

    def check(self) -> None:
        """Look at everything that this command may use, wherever it comes from; wrong usage ends here."""
        for name, item in self._known.items():
            if item in self.command.arguments or any(flag in self.command.uses for flag in item.flags):
                self.get(name)

    # -- values ----------------------------------------------------------------------------------------------------

    def get(self, name: str) -> object:
        """Return the value of an argument, converted; None if it was given nowhere."""
        value = getattr(self.options, name, None)
        if value is not None:
            return value
        item = self._known.get(name)
        if item is None or not item.env:
            return None
        if given := self.environment.get(item.env):
            return self._converted(item, given, f"${item.env}")
        key = item.dest
        if key in self.file:
            raw = self.file[key]
            if item.kind == "flag":
                if not isinstance(raw, bool):
                    refuse(f"{self.file_path}: {key}: true or false is wanted", self.command.words)
                return raw
            if isinstance(raw, bool) or not isinstance(raw, str | int | float):
                refuse(f"{self.file_path}: {key}: text or a number is wanted", self.command.words)
            return self._converted(item, str(raw), f"{self.file_path}: {key}")
        return None

    def _converted(self, item: Argument, text: str, where: str) -> object:
        try:
            value = KINDS[item.kind](text)
        except argparse.ArgumentTypeError as error:
            self.refuse(f"{where}: {error}")
        if item.choices and value not in item.choices:
            self.refuse(f"{where}: {text!r} is none of {', '.join(item.choices)}")
        return value

    def text(self, name: str) -> str | None:
        """Return a value that is text."""
        value = self.get(name)
        return None if value is None else str(value)

    def number(self, name: str) -> float | None:
        """Return a value that is a number."""
        value = self.get(name)
        return float(value) if isinstance(value, int | float) else None

    def whole(self, name: str) -> int | None:
        """Return a value that is a whole number."""
        value = self.get(name)
        return value if isinstance(value, int) else None

    def flag(self, name: str) -> bool:
        """Return whether a switch is on."""
        return bool(self.get(name))

    def many(self, name: str) -> list[str]:
        """Return the values of an option that may be repeated."""
        value = self.get(name)
        return [str(v) for v in value] if isinstance(value, list) else []

    def required(self, name: str) -> str:
        """Return a positional argument."""
        return str(self.get(name))

    # -- what the modem commands share -----------------------------------------------------------------------------

    @property
    def port(self) -> str:
        """The modem's port; wrong usage if none was given."""
        name = self.modem_port
        if name is None:
            self.refuse("which modem? Give -p PORT or set $MODEMTLS_PORT; `modemtls info` lists candidates")
        return name

    @property
    def modem_port(self) -> str | None:
        """The modem's port, if one was given."""
        return self.text("port")

    @property
    def password(self) -> str | None:
        """The access point's password."""
        return self._secret("password", "MODEMTLS_PASSWORD")

    @property
    def pin(self) -> str | None:
        """The SIM's PIN."""
        return self._secret("pin", "MODEMTLS_PIN")

    @property
    def psk(self) -> bytes | None:
        """The pre-shared key."""
        text = self._secret("psk", "MODEMTLS_PSK")
        try:
            return None if text is None else binascii.unhexlify(text)
        except (ValueError, UnicodeError):
            raise OSError(
                f"{self.text('psk_file') or '$MODEMTLS_PSK'}: a pre-shared key is one line of hexadecimal digits, "
                "two for each byte"
            ) from None

    def _secret(self, name: str, variable: str) -> str | None:
        """Prefer a file named on the command line, then the environment's value, then a file named elsewhere."""
        path = getattr(self.options, f"{name}_file", None)
        if path is None and (given := self.environment.get(variable)):
            return given
        path = self.text(f"{name}_file") if path is None else path
        if path is None:
            return None
        with expanded(path).open("rb") as source:
            data = source.read(LONGEST_SECRET + 1)
        name = {"psk": "pre-shared key"}.get(name, name)
        if len(data) > LONGEST_SECRET:
            raise OSError(f"{path}: too long for a {name}")
        lines = data.decode("utf-8", "replace").splitlines()
        if not lines or not lines[0].strip():
            raise OSError(f"{path}: holds no {name}")
        if any(line.strip() for line in lines[1:]):
            raise OSError(f"{path}: holds more than one line; a {name} is one")
        return lines[0].strip()

    # -- the configuration file ------------------------------------------------------------------------------------

    @property
    def file_path(self) -> Path:
        """Where the configuration file is, whether it exists or not."""
        if given := self.environment.get("MODEMTLS_CONFIG"):
            return Path(given)
        base = self.environment.get("XDG_CONFIG_HOME") or str(Path(self.environment.get("HOME", "~")) / ".config")
        return expanded(base) / "modemtls" / "config.toml"

    @property
    def file(self) -> dict[str, object]:
        """What the configuration file says, with ``_`` for ``-`` in the keys."""
        if self._file is None:
            self._file = self._read_file()
        return self._file

    def _read_file(self) -> dict[str, object]:
        path = self.file_path
        try:
            with path.open("rb") as source:
                data = source.read(LONGEST_FILE + 1)
        except (FileNotFoundError, NotADirectoryError):
            if self.environment.get("MODEMTLS_CONFIG"):
                raise
            return {}
        import tomllib

        if len(data) > LONGEST_FILE:
            self.refuse(f"{path}: too large for a configuration file")
        try:
            found = tomllib.loads(data.decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            self.refuse(f"{path}: {error}")
        known = {a.dest for c in COMMANDS for a in (*GLOBALS, *c.arguments) if a.env}
        out = {str(key).replace("-", "_"): value for key, value in found.items()}
        for key in out:
            if key not in known:
                from difflib import get_close_matches

                near = get_close_matches(key, known, 1)
                hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(sorted(known))}"
                self.refuse(f"{path}: unknown key {key!r}{hint}")
        return out
