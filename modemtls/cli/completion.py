"""Completion scripts for bash, zsh and fish, made from the table."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from modemtls.cli.table import COMMANDS, FAMILIES, GLOBALS, Argument, Command

if TYPE_CHECKING:
    from modemtls.cli.settings import Settings

__all__ = ["bash", "fish", "run", "zsh"]

PORTS = "/dev/serial/by-id/* /dev/ttyUSB* /dev/ttyACM*"
# A shell asks the program itself, so that a profile added later is offered, too.
NAMES = "modemtls profiles --names 2>/dev/null"


def run(settings: Settings) -> int:
    """``modemtls completion SHELL``."""
    sys.stdout.write({"bash": bash, "zsh": zsh, "fish": fish}[settings.required("shell")]())
    return 0


def _options(command: Command) -> list[Argument]:
    return [*(a for a in command.arguments if not a.positional), *GLOBALS]


def _places(command: Command) -> list[Argument]:
    return [a for a in command.arguments if a.positional]


def _seconds(word: str) -> list[Command]:
    return [c for c in COMMANDS if c.words[0] == word]


def _whole(item: Argument) -> list[str]:
    """Return how a value may begin, as far as words are known."""
    return [f"{kind}@{behind}" for kind, words in item.begins for behind in words]


# -- bash ----------------------------------------------------------------------------------------------------------


def _bash_values(item: Argument) -> str:
    if item.begins:
        words = " ".join(f"{kind}@" for kind, _ in item.begins)
        return f'COMPREPLY=($(compgen -W "{words}" -- "$cur")); compopt -o nospace 2>/dev/null'
    if item.choices or item.offers:
        return f'COMPREPLY=($(compgen -W "{" ".join(item.choices or item.offers)}" -- "$cur"))'
    return {
        "file": 'COMPREPLY=($(compgen -f -- "$cur")); compopt -o filenames 2>/dev/null',
        "port": 'COMPREPLY=($(compgen -W "$(compgen -G "/dev/serial/by-id/*"; compgen -G "/dev/ttyUSB*"; '
        'compgen -G "/dev/ttyACM*")" -- "$cur"))',
        "profile": f'COMPREPLY=($(compgen -W "$({NAMES})" -- "$cur") $(compgen -f -- "$cur"))',
        "model": f'COMPREPLY=($(compgen -W "$({NAMES})" -- "$cur"))',
    }.get(item.complete, "COMPREPLY=()")


def bash() -> str:
    """Return the script for bash (4 or later)."""
    everything = {a.dest: a for c in COMMANDS for a in _options(c)}
    valued = sorted({f for a in everything.values() if a.kind != "flag" for f in a.flags})
    out = [
        "# bash completion for modemtls; made by `modemtls completion bash`",
        "_modemtls() {",
        '    local cur prev word command="" skip="" index places=0',
        '    cur="${COMP_WORDS[COMP_CWORD]}"; prev="${COMP_WORDS[COMP_CWORD-1]}"; COMPREPLY=()',
        "    for ((index = 1; index < COMP_CWORD; index++)); do",
        '        word="${COMP_WORDS[index]}"',
        '        if [[ -n $skip ]]; then skip=""; continue; fi',
        '        case "$word" in',
        f"            {'|'.join(valued)}) skip=1 ;;",
        "            -*) ;;",
        "            *)",
        '                case "$command" in',
        f'                    ""|{"|".join(FAMILIES)}) command="${{command:+$command }}$word" ;;',
        "                    *) places=$((places + 1)) ;;",
        "                esac ;;",
        "        esac",
        "    done",
        '    [[ $cur == @ ]] && { prev+=@; cur=""; }',
        '    [[ $prev == @ && $COMP_CWORD -gt 1 ]] && prev="${COMP_WORDS[COMP_CWORD-2]}@"',
        '    case "$command:$prev" in',
    ]
    for command in COMMANDS:
        for item in command.arguments:
            if not item.positional and item.kind != "flag":
                out += [f'        "{command.name}:{flag}") {_bash_values(item)}; return ;;' for flag in item.flags]
        for item in (item for item in command.arguments if item.begins):
            # "@" ends a word for bash (COMP_WORDBREAKS).
            out += [
                f'        "{command.name}:{kind}@") COMPREPLY=($(compgen -W "{" ".join(behind)}" -- "$cur")); '
                "compopt -o nospace 2>/dev/null; return ;;"
                for kind, behind in item.begins
            ]
    for item in GLOBALS:
        if item.kind != "flag":
            out += [f"        *:{flag}) {_bash_values(item)}; return ;;" for flag in item.flags]
    out += ["    esac", '    case "$command" in']
    firsts = dict.fromkeys(c.words[0] for c in COMMANDS)
    shared = " ".join(f for a in GLOBALS for f in a.flags)
    out.append(f'        "") COMPREPLY=($(compgen -W "{" ".join(firsts)} {shared} --help --version" -- "$cur")) ;;')
    for family in FAMILIES:
        words = " ".join(c.words[1] for c in _seconds(family))
        out.append(f'        {family}) COMPREPLY=($(compgen -W "{words} {shared} --help" -- "$cur")) ;;')
    for command in COMMANDS:
        flags = " ".join(f for a in _options(command) for f in a.flags)
        out.append(f'        "{command.name}")')
        out.append(f'            if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W "{flags} --help" -- "$cur"))')
        for index, item in enumerate(_places(command)):
            test = f"$places -ge {index}" if item.count in {"+", "*"} else f"$places -eq {index}"
            out.append(f"            elif [[ {test} ]]; then {_bash_values(item)}")
        out.append("            fi ;;")
    out += ["    esac", "}", "complete -F _modemtls modemtls", ""]
    return "\n".join(out)


# -- zsh -----------------------------------------------------------------------------------------------------------


def _zsh_quoted(text: str) -> str:
    for mark in ("\\", "[", "]", ":"):
        text = text.replace(mark, "\\" + mark)
    return text.replace("'", "'\\''").replace("`", "")


def _zsh_values(item: Argument) -> str:
    if item.begins:
        return "_modemtls_" + item.dest + "s"
    if item.choices or item.offers:
        return "(" + " ".join(item.choices or item.offers) + ")"
    if item.complete == "file":
        return "_files"
    return f"_modemtls_{item.complete}s" if item.complete else " "


def _zsh_specs(command: Command) -> list[str]:
    out = []
    for item in _options(command):
        value = "" if item.kind == "flag" else f":{_zsh_quoted(item.metavar or item.dest)}:{_zsh_values(item)}"
        many = "*" if item.count == "*" else ""
        out += [f"'{many}{flag}[{_zsh_quoted(item.help)}]{value}'" for flag in item.flags]
    out.append("'(-h --help)'{-h,--help}'[show help]'")
    for index, item in enumerate(_places(command), 1):
        head = "*" if item.count in {"+", "*"} else str(index)
        out.append(f"'{head}:{_zsh_quoted(item.flags[0])}:{_zsh_values(item)}'")
    if command.tail:
        out.append("'*::command: _normal'")
    return out


def _zsh_described(variable: str, rows: dict[str, str]) -> list[str]:
    lines = [f"            '{name}:{_zsh_quoted(text)}'" for name, text in rows.items()]
    return [f"            local -a {variable}; {variable}=(", *lines, "            )"]


def zsh() -> str:
    """Return the script for zsh."""
    firsts = {c.words[0]: FAMILIES.get(c.words[0], c.help) for c in COMMANDS}
    shared = [s for s in _zsh_specs(Command((), "", "", "")) if s]
    out = [
        "#compdef modemtls",
        "# zsh completion for modemtls; made by `modemtls completion zsh`",
        f"_modemtls_ports() {{ local -a found; found=({PORTS.replace('*', '*(N)')}); compadd -a found }}",
        f'_modemtls_models() {{ compadd -- ${{(f)"$({NAMES})"}} }}',
        "_modemtls_profiles() { _modemtls_models; _files }",
        *(
            f"_modemtls_{item.dest}s() {{ compadd -S '' -- {' '.join(_whole(item))} }}"
            for command in COMMANDS
            for item in command.arguments
            if item.begins
        ),
        "_modemtls() {",
        "    local curcontext=$curcontext state line",
        "    typeset -A opt_args",
        "    _arguments -C \\",
        *(f"        {spec} \\" for spec in shared),
        "        '--version[print the version]' \\",
        "        '1:command:->command' '*::argument:->argument'",
        "    case $state in",
        "        command)",
        *_zsh_described("commands", firsts),
        "            _describe command commands ;;",
        "        argument)",
        "            case $line[1] in",
    ]
    for word in firsts:
        if word in FAMILIES:
            rows = {c.words[1]: c.help for c in _seconds(word)}
            out += [f"                {word})"]
            out += ["                    if (( CURRENT == 2 )); then"]
            out += [f"        {line}" for line in _zsh_described("commands", rows)]
            out += ["                    _describe command commands; else shift words; (( CURRENT-- ))"]
            out += ["                    case $words[1] in"]
            for command in _seconds(word):
                out.append(f"                        {command.words[1]}) _arguments \\")
                out += _zsh_joined(command, 28)
            out += ["                    esac; fi ;;"]
        else:
            out.append(f"                {word}) _arguments \\")
            out += _zsh_joined(_seconds(word)[0], 20)
    out += ["            esac ;;", "    esac", "}"]
    out += ['if [[ $funcstack[1] == _modemtls ]]; then _modemtls "$@"; else compdef _modemtls modemtls; fi', ""]
    return "\n".join(out)


def _zsh_joined(command: Command, indent: int) -> list[str]:
    specs = _zsh_specs(command)
    return [" " * indent + s + (" ;;" if s is specs[-1] else " \\") for s in specs]


# -- fish ----------------------------------------------------------------------------------------------------------


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _fish_values(item: Argument) -> str:
    if item.kind == "flag":
        return ""
    if item.begins:
        return f" -x -a {_fish_quoted(' '.join(_whole(item)))}"
    if item.choices or item.offers:
        return f" -x -a {_fish_quoted(' '.join(item.choices or item.offers))}"
    names = _fish_quoted(f"({NAMES})")
    return {
        "file": " -r -F",
        "port": f" -x -a '(for f in {PORTS}; echo $f; end)'",
        "profile": f" -r -F -a {names}",
        "model": f" -x -a {names}",
    }.get(item.complete, " -x")


def _fish_option(item: Argument) -> str:
    long = next(f for f in item.flags if f.startswith("--")).lstrip("-")
    short = next((f for f in item.flags if not f.startswith("--")), "")
    return f" -l {long}" + (f" -s {short[1:]}" if short else "") + _fish_values(item) + f" -d {_fish_quoted(item.help)}"


def fish() -> str:
    """Return the script for fish."""
    firsts = {c.words[0]: FAMILIES.get(c.words[0], c.help) for c in COMMANDS}
    every = " ".join(firsts)
    out = ["# fish completion for modemtls; made by `modemtls completion fish`", "complete -c modemtls -f"]
    none = f"'not __fish_seen_subcommand_from {every}'"
    out += [f"complete -c modemtls -n {none} -a {word} -d {_fish_quoted(text)}" for word, text in firsts.items()]
    out += [f"complete -c modemtls{_fish_option(item)}" for item in GLOBALS]
    out.append("complete -c modemtls -s h -l help -d 'show help'")
    out.append(f"complete -c modemtls -n {none} -l version -d 'print the version'")
    for command in COMMANDS:
        seen = f"__fish_seen_subcommand_from {command.words[0]}"
        if len(command.words) == 2:
            rest = " ".join(c.words[1] for c in _seconds(command.words[0]))
            offer = f"'{seen}; and not __fish_seen_subcommand_from {rest}'"
            out.append(f"complete -c modemtls -n {offer} -a {command.words[1]} -d {_fish_quoted(command.help)}")
            seen += f"; and __fish_seen_subcommand_from {command.words[1]}"
        for item in command.arguments:
            if not item.positional:
                out.append(f"complete -c modemtls -n '{seen}'{_fish_option(item)}")
            elif item.choices or item.offers or item.complete:
                out.append(f"complete -c modemtls -n '{seen}'{_fish_values(item)}")
    return "\n".join([*out, ""])
