"""``modemtls profiles`` and ``modemtls profile …``: what is known about modems, and the profile author's tools."""

from __future__ import annotations

import json
import sys
import textwrap
from typing import TYPE_CHECKING

from modemtls.cli.output import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modemtls.cli.settings import Settings
    from modemtls.profile import Profile
    from modemtls.profile.model import Condition

__all__ = ["check", "listing", "schema", "show"]


def listing(settings: Settings) -> int:
    """``modemtls profiles [--json|--names]``."""
    from modemtls.profile import bundled, load

    names = bundled()
    if settings.flag("names"):
        print("\n".join(names))
        return 0
    profiles = [load(name) for name in names]
    if settings.flag("json"):
        print(json.dumps([_plain(p) for p in profiles], indent=2, ensure_ascii=False))
        return 0
    if settings.flag("markdown"):
        print(_markdown(profiles))
        return 0
    for profile in profiles:
        print(f"{profile.name}: {profile.title or profile.vendor}")
        for label, text in [("models", ", ".join(profile.models)), *_told(profile)]:
            head, pad = f"  {label:<13} ", " " * 16
            print(textwrap.fill(text, 100, initial_indent=head, subsequent_indent=pad, break_on_hyphens=False))
        print()
    print("`modemtls profile show NAME --flat` prints one whole; `--json` gives this list to programs.")
    return 0


def _plain(profile: Profile) -> dict[str, object]:
    """Return a profile for programs.

    A capability that depends on model, firmware or a probe has the value it has when the condition holds, and is named
    in ``conditional`` with that condition.
    """
    values = profile.able_all()
    conditional = {}
    for name, rule in profile.capabilities.items():
        values[name] = rule.value
        if rule.condition is not None:
            conditional[name] = _condition(rule.condition)
    return {
        "name": profile.name,
        "title": profile.title,
        "vendor": profile.vendor,
        "models": list(profile.models),
        "capabilities": values,
        "conditional": conditional,
        "limits": dict(profile.limits),
        "sent_means": profile.behaviour["sent_means"],
        "refused_data": _refused(profile),
    }


def _condition(condition: Condition) -> str:
    parts = []
    for test in condition.tests:
        if test.how == "range":
            parts.append(f"{test.name} from {test.low or 'any'} to {test.high or 'any'}")
        else:
            values = " or ".join(str(v).lower() if isinstance(v, bool) else str(v) for v in test.values)
            parts.append(f"{test.name} {test.how.replace('_', ' ')} {values}")
    return " and ".join(parts)


def _told(profile: Profile) -> list[tuple[str, str]]:
    sure, perhaps, lacking = [], [], []
    versions: object = ()
    for name, value in profile.able_all().items():
        rule = profile.capabilities.get(name)
        if name == "tls":
            versions = value
        elif rule is not None and rule.condition is not None:
            perhaps.append(name)
        elif value is False:
            lacking.append(name)
        else:
            sure.append(name if value is True else f"{name} ({_words(value)})")
    limits = _limits(profile.limits)
    listed = ", ".join(versions) if isinstance(versions, tuple | list) else str(versions)
    out = [("TLS versions", listed), ("can", ", ".join(sure))]
    if perhaps:
        out.append(("asks modem", f"{', '.join(perhaps)} (depends on the firmware)"))
    out += [("cannot", ", ".join(lacking)), ("limits", limits), ("sent means", profile.behaviour["sent_means"])]
    refused = _refused(profile)
    if refused:
        out.append(("refused data", _marked(refused) + ": it would end the data for the modem"))
    return out


def _refused(profile: Profile) -> dict[str, list[str]]:
    """Return what the data of each family's sends must not contain, for the modem would not take it as data."""
    from modemtls.profile.model import Payload
    from modemtls.profile.operations import FAMILIES

    out: dict[str, list[str]] = {}
    for family in FAMILIES:
        programs = [profile.programs.get(f"{family}_{op}") for op in ("send", "sendto")]
        uses = [one.what for program in programs if program is not None for one in program.uses]
        marks = [mark for what in uses if isinstance(what, Payload) for mark in what.refused]
        if marks:
            out[family] = [mark.decode("latin-1").encode("unicode_escape").decode() for mark in dict.fromkeys(marks)]
    return out


def _marked(refused: dict[str, list[str]]) -> str:
    return "; ".join(f"{family}: {' '.join(marks)}" for family, marks in refused.items())


def _markdown(profiles: Sequence[Profile]) -> str:
    """Return docs/modems.md: one column a profile."""
    from modemtls.profile.operations import CAPABILITIES

    rows: list[tuple[str, list[str]]] = [
        ("models", [", ".join(p.models) for p in profiles]),
        ("TLS versions", [", ".join(p.able("tls") or ()) or "–" for p in profiles]),
    ]
    for name, about in ((n, c.about) for n, c in CAPABILITIES.items() if n != "tls"):
        rows.append((f"{name}: {about}", [_cell(p, name) for p in profiles]))
    rows.append(("sent_means: what a send that succeeds says", [p.behaviour["sent_means"] for p in profiles]))
    for label, said in _sockets(profiles).items():
        rows.append((label, said))
    what = "refused_data: what the data of a send must not contain, for it would end the data"
    rows.append((what, [_marked(_refused(p)) or "–" for p in profiles]))
    for name in dict.fromkeys(key for p in profiles for key in p.limits):
        values = [p.limits.get(name, "–") for p in profiles]
        rows.append((name, [str(len(v)) if isinstance(v, tuple | list) else str(v) for v in values]))
    out = [
        "# Modems",
        "",
        "Made from the profiles by `modemtls profiles --markdown`; do not edit. *asks*: it depends on the firmware,",
        "and the modem is asked. Limits of numbered things are how many there are; the others are bytes or seconds.",
        "",
        f"| | {' | '.join(f'{p.title} (`{p.name}`)' for p in profiles)} |",
        "|---" * (len(profiles) + 1) + "|",
    ]
    return "\n".join([*out, *(f"| {label} | {' | '.join(cells)} |" for label, cells in rows), "", *_evidence(profiles)])


def _sockets(profiles: Sequence[Profile]) -> dict[str, list[str]]:
    from modemtls.profile.traits import datagram_whole, poll_period, tells_local_port

    def ports(profile: Profile) -> str:
        told = [family for family in ("tls", "dtls", "tcp", "udp") if tells_local_port(profile, family)]
        return "yes" if len(told) == 4 else ", ".join(told) or "–"

    return {
        "notice: tells unasked that there is data": [
            "yes" if (period := poll_period(p)) is None else f"– (asked every {period:g} s)" for p in profiles
        ],
        "local_port_told: tells which local port a socket has": [ports(p) for p in profiles],
        "datagram_whole: the largest datagram that is read whole for certain; a larger one counts as truncated": [
            str(datagram_whole(p, "udp") or "any") for p in profiles
        ],
    }


def _evidence(profiles: Sequence[Profile]) -> list[str]:
    """Return what documents say of capabilities, where the profiles repeat it."""
    out = ["## Evidence", "", "What is known of capabilities, for more than the value in the table:", ""]
    found: dict[tuple[str, str], list[str]] = {}
    for profile in profiles:
        for name, rule in profile.capabilities.items():
            for one in rule.see:
                found.setdefault((name, f"{one.text} ({one.kind})"), []).append(f"`{profile.name}`")
    return [*out, *(f"- {name}, {', '.join(names)}: {text}" for (name, text), names in sorted(found.items()))]


def _cell(profile: Profile, name: str) -> str:
    rule = profile.capabilities.get(name)
    if rule is None or rule.value is False:
        return "–"
    if rule.condition is not None:
        return "asks"
    return "yes" if rule.value is True else _words(rule.value)


def _words(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _limits(limits: Mapping[str, object]) -> str:
    return ", ".join(f"{k} {len(v) if isinstance(v, tuple | list) else v}" for k, v in limits.items())


def check(settings: Settings) -> int:
    """``modemtls profile check FILE…``: every finding on a line of its own, on stdout; 1 if there are any."""
    from modemtls.profile import check as findings_of
    from modemtls.profile import load

    value = settings.get("file")
    files = [str(f) for f in value] if isinstance(value, list) else []
    findings = findings_of(files)
    if settings.flag("json"):
        keys = ("file", "line", "column", "message", "hint")
        print(json.dumps([{key: getattr(f, key) for key in keys} for f in findings], indent=2, ensure_ascii=False))
    else:
        for finding in findings:
            print(printable(str(finding)))
    sys.stdout.flush()
    if findings:
        count = f"{len(findings)} mistake{'s' if len(findings) > 1 else ''}"
        print(f"modemtls: {count} in {printable(', '.join(dict.fromkeys(f.file for f in findings)))}", file=sys.stderr)
        return 1
    if not settings.flag("json"):
        for name in files:
            for key in load(name, abstract=True).beyond():
                print(f"{printable(name)}: note: {key} is not acted upon yet: no modem is driven with this profile")
        print(f"{len(files)} profile{'s' if len(files) > 1 else ''} checked, nothing wrong")
    return 0


def show(settings: Settings) -> int:
    """``modemtls profile show NAME [--flat]``."""
    from modemtls.profile import show as text_of

    text = text_of(settings.required("name"), flat=settings.flag("flat"))
    sys.stdout.write(text if text.endswith("\n") else text + "\n")
    return 0


def schema(settings: Settings) -> int:
    """``modemtls profile schema``."""
    from modemtls.profile import json_schema

    del settings
    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
    return 0
