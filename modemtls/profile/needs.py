"""Checks that a profile has what its capabilities need, and that what is declared to protect decides something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modemtls.profile.operations import CAPABILITIES
from modemtls.profile.reach import unsent
from modemtls.profile.source import section

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
        poll: bool,
    ) -> None:
        self.root = root
        self.problems = problems
        self.capabilities = capabilities
        self.programs = programs
        self.urcs = urcs
        self.urcs_lost = urcs_lost
        self.poll = poll

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
        return self.urcs_lost or any(
            one.rule.means == means and one.rule.family in {None, family} and (one.data is not None or not payload)
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

    def check(self) -> None:
        """Complain about everything that is missing."""
        for name in filter(self._has, self.capabilities):
            self._declared(name)
        if self._has("tls"):
            self._receiving()
            self._versions()
        if self._has("tcp") and self._has("pull") and self._lacks("programs", "tcp_receive"):
            self._complain_of("tcp", "program tcp_receive", "programs", "tcp_receive")
        names = self._uses("tls_configure", "sni") or self._uses("tls_configure", "sni_name")
        if self._has("sni") and "tls_configure" in self.programs and not names:
            self._complain("sni", "{sni} or {sni_name} in program tls_configure")
        keys = self._uses("tls_configure", "psk_identity", "psk_key")
        if self._has("psk") and self._lacks("programs", "psk_write") and not keys:
            self._complain("psk", "program psk_write, or {psk_identity} and {psk_key} in program tls_configure")
        self._receive_words()
        suites = section(self.root, "tables").entries.get("suites")
        if self._has("suites") and suites is not None:
            wanted = self.capabilities["suites"].value
            if suites.entries["mode"].scalar != wanted:
                self._complain("suites", f"the table suites to have mode: {wanted}")

    def _declared(self, name: str) -> None:
        """Check what the table of capabilities says."""
        what = CAPABILITIES[name]
        for op in dict.fromkeys((*what.operations, *(op for op, _ in what.uses))):
            if self._lacks("programs", op):
                self._complain_of(name, f"program {op}", "programs", op)
        for op, names in what.uses:
            for one in names:
                if op in self.programs and not self._uses(op, one):
                    self._complain_of(name, f"{{{one}}} in program {op}", "programs", op)
        for table in what.tables:
            if self._lacks("tables", table):
                self._complain_of(name, f"table {table}", "tables", table)
        for limit in what.limits:
            fixed = limit == "credential_name" and "credential_names" in section(self.root, "limits").names()
            if self._lacks("limits", limit) and not fixed:
                self._complain_of(name, f"limit {limit}", "limits", limit)

    def _receiving(self) -> None:
        if not (self._has("pull") or self._has("push")):
            self._complain("tls", "pull or push")
        if not self._urc("closed", "tls") and not self.poll:
            self._complain("tls", "a URC that means closed, or behaviour.poll")
        if self._has("pull"):
            if self._lacks("programs", "tls_receive"):
                self._complain_of("pull", "program tls_receive", "programs", "tls_receive")
            if not self._urc("data", "tls") and not self.poll:
                self._complain("pull", "a URC that means data, or behaviour.poll")
        if self._has("push") and not self._urc("data", "tls", payload=True):
            self._complain("push", "a URC that means data and carries a payload")

    def _receive_words(self) -> None:
        """Check that a way of receiving has its word in the table that an open writes it with."""
        for op, family in (("tls_open", "tls"), ("tcp_open", "tcp")):
            for use in self.programs[op].uses if self._has(family) and op in self.programs else ():
                for word in filter(self._has, ("pull", "push")):
                    if use.name == "receive" and use.table and word not in use.table:
                        where = section(self.root, "tables").key(str(use.table_name))
                        self.problems.add(where, f"capability {word} needs {word} in table {use.table_name}")

    def _versions(self) -> None:
        table = section(self.root, "tables").entries.get("tls_versions")
        if table is None or table.lost:
            return
        settable = {one.scalar for choice in table.items for one in choice.entries["versions"].items}
        declared: Any = self.capabilities["tls"].value
        for version in declared:
            if settable and version not in settable:
                self._complain("tls", f"a token for {version} in table tls_versions")


def removed(root: Node, kind: str, name: str) -> Node | None:
    """Return where a child took an entry of a section away, None if none did."""
    node = root.entries.get(kind)
    return root.removed.get(kind) if node is None else node.removed.get(name)


def protection(root: Node, profile: Profile, problems: Problems) -> None:
    """Complain about what is declared to protect and decides nothing that is sent."""
    for capability, name in unsent(profile):
        what = "nothing that tls_configure and tls_open send, and the modem may not refuse, depends on"
        if capability:
            place = section(root, "capabilities").key(capability)
            hint = f"if only some firmware has it: {capability}: {{value: true, when: {{FLAG: true}}}}"
            problems.add(place, f"capability {capability}: {what} {{{name}}}", hint)
        else:
            problems.add(section(root, "programs").key("tls_configure"), f"{what} {{{name}}}")
