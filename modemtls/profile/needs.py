"""Checks that a profile has what its capabilities need, and that what is declared to protect decides something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from modemtls.profile.operations import CAPABILITIES, FAMILIES, SECURE, serves
from modemtls.profile.reach import unsent
from modemtls.profile.results import gives
from modemtls.profile.source import section
from modemtls.profile.template import Placeholder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modemtls.profile import model as m
    from modemtls.profile.problems import Problems
    from modemtls.profile.profile import Profile
    from modemtls.profile.source import Node

__all__ = ["Needs", "protection", "removed"]


class Needs:
    """What the capabilities of one profile need. ``urcs_lost``: some unsolicited results are wrong and left out."""

    def __init__(
        self,
        root: Node,
        problems: Problems,
        *,
        capabilities: Mapping[str, m.CapabilityRule],
        programs: Mapping[str, m.Program],
        urcs: tuple[m.UrcSpec, ...],
        urcs_lost: bool,
        behaviour: Mapping[str, Any],
        limits: Mapping[str, Any],
    ) -> None:
        self.root = root
        self.problems = problems
        self.capabilities = capabilities
        self.programs = programs
        self.urcs = urcs
        self.urcs_lost = urcs_lost
        self.behaviour = behaviour
        self.limits = limits
        self.poll = behaviour["poll"] is not None
        self.families = [one for one in FAMILIES if self._has(one)]
        secure = [one for one in self.families if one in SECURE]
        # The programs that take TLS settings.
        self.settings = ["tls_configure"] if behaviour["tls_contexts"] != "none" else [f"{one}_open" for one in secure]

    # -- questions --------------------------------------------------------------------------------------------

    def _has(self, name: str) -> bool:
        return name in self.capabilities and self.capabilities[name].value is not False

    def _lacks(self, kind: str, name: str) -> bool:
        return kind not in self.root.lost and name not in section(self.root, kind).names()

    def _uses(self, op: str, *names: str) -> bool:
        # A program that could not be compiled is complained about elsewhere.
        return op in self.programs and all(
            name in self.programs[op].names or self.problems.excused(name) for name in names
        )

    def _urc(self, means: str, family: str, *, payload: bool = False) -> bool:
        kin = _KIN[family]
        return self.urcs_lost or any(
            one.rule.means == means
            and (one.rule.family is None or one.rule.family in kin)
            and (one.data is not None or not payload)
            for one in self.urcs
        )

    # -- complaints -------------------------------------------------------------------------------------------

    def _complain(self, name: str, message: str) -> None:
        self.problems.add(section(self.root, "capabilities").key(name), f"capability {name} needs {message}")

    def _complain_of(self, name: str, message: str, kind: str, what: str) -> None:
        """Complain about an entry of a section: where a child removed or replaced it, if one did."""
        place = removed(self.root, kind, what)
        if place is not None:
            hint = f"capabilities: {{{name}: null}}"
            self.problems.add(place, f"{what} is removed here, and capability {name} needs it", hint)
            return
        place = section(self.root, "capabilities").key(name)
        own = section(self.root, kind).keys.get(what, place)
        inherited = own.file == self.root.file != place.file
        self.problems.add(own if inherited else place, f"capability {name} needs {message}")

    def _program(self, name: str, op: str) -> None:
        if self._lacks("programs", op):
            self._complain_of(name, f"program {op}", "programs", op)

    def _input(self, name: str, op: str, *inputs: str) -> None:
        for one in inputs:
            if op in self.programs and not self._uses(op, one):
                self._complain_of(name, f"{{{one}}} in program {op}", "programs", op)

    def _limit(self, name: str, limit: str) -> None:
        if self._lacks("limits", limit):
            self._complain_of(name, f"limit {limit}", "limits", limit)

    def check(self) -> None:
        """Complain about everything that is missing."""
        for name in filter(self._has, self.capabilities):
            self._declared(name)
        for family in self.families:
            self._receiving(family)
        for family in SECURE:
            if self._has(family):
                self._versions(family)
                if self.behaviour["tls_contexts"] != "none":
                    self._limit(family, "contexts")
        if self._has("udp") or self._has("udp_unconnected"):
            name = "udp" if self._has("udp") else "udp_unconnected"
            if self._lacks("limits", "udp_sockets") and self._lacks("limits", "tcp_sockets"):
                self._complain(name, "limit udp_sockets or tcp_sockets")
        if self._has("udp_unconnected") and self._has("pull"):
            self._program("udp_unconnected", "udp_receivefrom")
        if self._has("listen") and not self._urc("accepted", "tcp"):
            self._program("listen", "tcp_accept")
        if self._has("server") and not self._urc("accepted", "tls"):
            self._program("server", "tls_accept")
        if self._has("sni"):
            for op in self.settings:
                if op != "tls_configure" and not self._serves("sni", op.removesuffix("_open")):
                    continue
                if op in self.programs and not (self._uses(op, "sni") or self._uses(op, "sni_name")):
                    self._complain("sni", f"{{sni}} or {{sni_name}} in program {op}")
        self._credentials()
        self._psk()
        self._sessions()
        self._timers()
        self._receive_words()
        self._attaching()
        suites = section(self.root, "tables").entries.get("suites")
        if self._has("suites") and suites is not None:
            wanted = self.capabilities["suites"].value
            if suites.entries["mode"].scalar != wanted:
                self._complain("suites", f"the table suites to have mode: {wanted}")

    def _declared(self, name: str) -> None:
        """Check what the table of capabilities says."""
        what = CAPABILITIES[name]
        for op in what.operations:
            if op != "tls_configure" or self.behaviour["tls_contexts"] != "none":
                self._program(name, op)
        for op, names in what.uses:
            for each in self._meant(op, name):
                if op == "tls_configure":
                    self._program(name, each)
                self._input(name, each, *names)
        for table in what.tables:
            if self._lacks("tables", table):
                self._complain_of(name, f"table {table}", "tables", table)
        for limit in what.limits:
            self._limit(name, limit)

    def _meant(self, op: str, name: str) -> list[str]:
        """Return the programs that an entry of the table of capabilities stands for."""
        if op == "tls_configure":
            return self.settings
        return [f"{one}_open" for one in self.families if self._serves(name, one)] if op == "*_open" else [op]

    def _serves(self, name: str, family: str) -> bool:
        return not CAPABILITIES[name].families or serves(self.capabilities[name].value, family)

    def _receiving(self, family: str) -> None:
        if family == "tls" and not (self._has("pull") or self._has("push")):
            self._complain(family, "pull or push")
        if not self._urc("closed", family) and not self.poll and family not in {"tcp", "udp"}:
            self._complain(family, "a URC that means closed, or behaviour.poll")
        name = "pull" if family == "tls" else family
        if self._has("pull"):
            self._program(name, f"{family}_receive")
            if not self._urc("data", family) and not self.poll and family != "tcp":
                self._complain(name, "a URC that means data, or behaviour.poll")
        if family == "tls" and self._has("push") and not self._urc("data", "tls", payload=True):
            self._complain("push", "a URC that means data and carries a payload")

    def _attaching(self) -> None:
        """Check that what attaching brings up can be written while the radio is off."""
        number = self.behaviour["attach_context"]
        if number is None:
            return
        place = section(self.root, "behaviour").key("attach_context")
        for op in ("radio_state", "radio_off", "radio_on", "pdp_configure"):
            if self._lacks("programs", op):
                self.problems.add(place, f"attach_context needs program {op}")
        if number not in self.limits.get("pdp_contexts", (number,)):
            self.problems.add(place, f"attach_context: {number} is not in limits.pdp_contexts")

    def _receive_words(self) -> None:
        """Check that a way of receiving has its word in the table that an open writes it with."""
        for op in [f"{family}_open" for family in self.families]:
            for use in self.programs[op].uses if op in self.programs else ():
                for word in filter(self._has, ("pull", "push")):
                    what = use.what
                    if (
                        what.name == "receive"
                        and isinstance(what, Placeholder)
                        and what.table
                        and word not in what.table
                    ):
                        where = section(self.root, "tables").key(str(what.table_name))
                        self.problems.add(where, f"capability {word} needs {word} in table {what.table_name}")

    def _versions(self, family: str) -> None:
        name = f"{family}_versions"
        table = section(self.root, "tables").entries.get(name)
        if table is None or table.lost:
            return
        settable = {one.scalar for choice in table.items for one in choice.entries["versions"].items}
        declared: Any = self.capabilities[family].value
        for version in declared:
            if settable and version not in settable:
                self._complain(family, f"a token for {version} in table {name}")
        if len(table.items) > 1:  # of a single one nothing has to be told
            for op in self.settings if self.settings == ["tls_configure"] else [f"{family}_open"]:
                self._program(family, op)
                self._input(family, op, "version")

    def _credentials(self) -> None:
        """Check that stored things can be named, and told from what only has their name."""
        tagged = self.behaviour["credential_store"] == "tagged"
        if self._has("client_certificates"):
            for op in self.settings:
                self._program("client_certificates", op)
                self._input("client_certificates", op, *(["bundle"] if tagged else ["cert", "key"]))
        if not self._has("credentials"):
            return
        if not tagged:
            if "credential_names" not in section(self.root, "limits").names():
                self._limit("credentials", "credential_name")
        else:
            self._limit("credentials", "credential_tags")
            for op in self.settings:
                self._input("credentials", op, "bundle")
            if self.behaviour["credential_digest"] != "sha256" or not self._lists("kind", "digest"):
                self._complain("credentials", "a credential_list with kind and digest, and credential_digest: sha256, "
                               "where the store is tagged")  # fmt: skip
        digest = self.behaviour["credential_digest"] != "none"
        if digest and not tagged and not self._lists("digest"):
            self._program("credentials", "credential_digest")
        if self.behaviour["credentials_radio_off"]:
            for op in ("radio_state", "radio_off", "radio_on"):
                self._program("credentials", op)

    def _lists(self, *names: str) -> bool:
        program = self.programs.get("credential_list")
        return program is None or all(one in gives(program) or self.problems.excused(one) for one in names)

    def _psk(self) -> None:
        if not self._has("psk"):
            return
        inline = self.capabilities["psk"].value == "inline"
        tagged = self.behaviour["credential_store"] == "tagged"
        names = ("psk_identity", "psk_key") if inline else ("bundle",) if tagged else ("psk",)
        for op in self.settings:
            self._program("psk", op)
            if op in self.programs and not self._uses(op, *names):
                what = " and ".join(f"{{{one}}}" for one in names)
                self._complain_of("psk", f"{what} in program {op}", "programs", op)
        if not inline:
            self._program("psk", "credential_write")

    def _sessions(self) -> None:
        """Check that sessions can be given back, or forgotten: what the caller wants forgotten is not used."""
        if not self._has("resumption"):
            if self._has("session_store"):
                self._complain("session_store", "capability resumption")
            return
        contexts = self.behaviour["tls_contexts"] != "none"
        if not self._has("session_store"):
            self._complain("resumption", "capability session_store")
            return
        host = self.capabilities["session_store"].value == "host"
        if host and not contexts:
            self._complain("session_store", "TLS contexts where the host keeps sessions")
        if contexts:
            self._program("resumption", "session_purge")
        else:
            for op in self.settings:
                self._input("resumption", op, "purge")
        if host:
            self._program("session_store", "session_restore")
            if not self._urc("session", "tls"):
                self._complain("session_store", "a URC that means session")
        elif self.capabilities["resumption"].value == "reported":
            for family in SECURE:
                program = self.programs.get(f"{family}_open")
                if self._has(family) and program is not None and "resumed" not in gives(program):
                    self._complain("resumption", f"{family}_open to give resumed, where it is reported")

    def _timers(self) -> None:
        if not self._has("handshake_timers"):
            return
        total = self.capabilities["handshake_timers"].value == "total"
        names = ("dtls_timeout_total",) if total else ("dtls_timeout_min", "dtls_timeout_max")
        for op in self.settings if self.settings == ["tls_configure"] else ["dtls_open"]:
            self._program("handshake_timers", op)
            self._input("handshake_timers", op, *names)
        if total:
            self._limit("handshake_timers", "dtls_timeouts")


_KIN: Final = {family: SECURE if family in SECURE else ("tcp", "udp") for family in FAMILIES}
"""The families that share their numbers, and so their unsolicited results."""


def removed(root: Node, kind: str, name: str) -> Node | None:
    """Return where a child took an entry of a section away, None if none did."""
    node = root.entries.get(kind)
    return root.removed.get(kind) if node is None else node.removed.get(name)


def protection(root: Node, profile: Profile, problems: Problems) -> None:
    """Complain about what is declared to protect and decides nothing that is sent."""
    for capability, name, op in unsent(profile):
        what = f"nothing that {op} {'send' if ' ' in op else 'sends'}, and the modem may not refuse, depends on"
        if capability:
            place = section(root, "capabilities").key(capability)
            hint = f"if only some firmware has it: {capability}: {{value: true, when: {{FLAG: true}}}}"
            problems.add(place, f"capability {capability}: {what} {{{name}}}", hint)
        else:
            problems.add(section(root, "programs").key(op.split(" ", 1)[0]), f"{what} {{{name}}}")
