"""The caller's resumption buffer where sessions are a modem's."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from modemtls.modem.settings import TlsSettings
from modemtls.net.contract import resumption
from modemtls.net.contract.resumption import Kind
from modemtls.net.resuming import Resuming, bound_to, filed_under

TOLD = {"session_id": "aWQ=", "session_secret": "c2VjcmV0", "session_kind": 0}
SETTINGS = TlsSettings(version=3, suites=("0",), ca="ca", resume=True)
BOUND = bound_to("server.example", 443, SETTINGS, b"")


class Modem:
    """What sessions need of one. ``told``: what its info says."""

    def __init__(self, store="host", told="490154203237518", name="m"):
        self.capabilities = {"session_store": store}
        self.limits = {}
        self.profile = SimpleNamespace(
            name=name, programs={"session_restore": SimpleNamespace(inputs=dict.fromkeys(["context", *TOLD]))}
        )
        self.told = told

    def now(self):
        return 0.0

    def info(self, *, deadline=None):
        return {"imei": self.told} if self.told else {}


def slot(**session):
    return SimpleNamespace(session=session, resumed=False)


def begin(sessions, bound=BOUND):
    return sessions.begin(bound, resume=sessions.wanted(known=True), deadline=None)


@pytest.fixture
def buffer():
    return bytearray(512)


def kept(buffer, modem=None, told=TOLD):
    """Have a modem's session in the buffer."""
    sessions = Resuming(modem or Modem(), buffer, saves=False)
    begin(sessions)
    sessions.made(slot(**told))
    return sessions


class TestWhatIsGivenBack:
    def test_what_was_told_to_the_same_connection_of_the_same_modem(self, buffer):
        kept(buffer)
        assert begin(Resuming(Modem(), buffer, saves=False)) == (TOLD, False)

    def test_to_nobody_else(self, buffer):
        kept(buffer)
        other = bound_to("server.example", 443, SETTINGS, b"records")
        assert begin(Resuming(Modem(), buffer, saves=False), other) == ({}, True)
        assert begin(Resuming(Modem(told="490154203237519"), buffer, saves=False)) == ({}, True)
        assert begin(Resuming(Modem(name="n"), buffer, saves=False)) == ({}, True)
        assert begin(Resuming(Modem(store="modem"), bytearray(512), saves=False)) == ({}, True)

    def test_of_a_modem_without_a_name_only_to_this_very_one(self, buffer):
        modem = Modem(told="")
        kept(buffer, modem)
        assert begin(Resuming(modem, buffer, saves=False)) == (TOLD, False)
        assert begin(Resuming(Modem(told=""), buffer, saves=False)) == ({}, True)

    def test_fields_that_the_profile_does_not_know_any_more(self, buffer):
        kept(buffer, told={"session_ticket": "x"})
        assert begin(Resuming(Modem(), buffer, saves=False)) == ({}, True)

    def test_every_term_binds_and_no_patience_does(self):
        def bound(**changes):
            return bound_to(
                "server.example", 443, TlsSettings(**{"version": 3, "suites": ("0",), "ca": "ca", **changes}), b""
            )

        same = bound()
        assert bound(handshake_timeout=5, dtls_timers=(1, 2, 3)) == same
        for changes in (
            {"ca": "b"},
            {"verify": False},
            {"check_hostname": False},
            {"sni": "x"},
            {"psk_key": b"k"},
            {"cid": True},
        ):
            assert bound(**changes) != same
        assert bound_to("server.example", 444, SETTINGS, b"") != BOUND
        assert bound_to("x.example", 443, SETTINGS, b"") != BOUND

    def test_without_a_buffer_nothing_is_kept(self):
        sessions = Resuming(Modem(told=None), None, saves=True)
        assert not sessions.wanted(known=True)
        assert begin(sessions) == ({}, False)
        sessions.made(slot(**TOLD))
        sessions.failed("unknown")
        assert sessions.parked(BOUND, "pull", None) is None
        assert not sessions.park(slot(), None)


class TestWhatIsWritten:
    def test_later_news_replace_what_was_there_unless_it_was_zeroed(self, buffer):
        sessions = kept(buffer)
        news = slot(**{**TOLD, "session_id": "bmV3"})
        sessions.note(news)
        assert begin(Resuming(Modem(), buffer, saves=False))[0]["session_id"] == "bmV3"
        buffer[:] = bytes(512)
        sessions.note(slot(**TOLD))
        assert not any(buffer)

    def test_what_did_not_serve_goes(self, buffer):
        sessions = kept(buffer)
        begin(sessions)
        sessions.made(slot())
        assert not any(buffer)

    def test_a_session_that_cannot_have_been_the_reason_stays(self, buffer):
        before = bytes(kept(buffer)._buffer)
        sessions = Resuming(Modem(), buffer, saves=False)
        for kind in ("connect_failed", "name_not_resolved", "timeout", "pdp_lost"):
            assert begin(sessions) == (TOLD, False)
            sessions.failed(kind)
            assert buffer == before

    def test_one_that_may_have_been_is_left_out_once(self, buffer):
        before = bytes(kept(buffer)._buffer)
        sessions = Resuming(Modem(), buffer, saves=False)
        begin(sessions)
        sessions.failed("connect_or_handshake")
        assert begin(sessions) == ({}, True)
        sessions.failed("connect_or_handshake")  # it was not
        assert buffer == before
        assert begin(sessions) == (TOLD, False)

    def test_one_that_was_the_reason_goes(self, buffer):
        sessions = kept(buffer)
        begin(sessions)
        sessions.failed("handshake_failed")
        assert not any(buffer)

    def test_of_a_refused_peer_nothing_stays(self, buffer):
        kept(buffer).refused()
        assert not any(buffer)

    def test_where_the_modem_keeps_them_the_buffer_says_that_there_is_one(self, buffer):
        modem = Modem(store="modem")
        sessions = Resuming(modem, buffer, saves=False)
        assert begin(sessions) == ({}, True)
        sessions.opened()
        sessions.made(slot())
        assert begin(sessions) == ({}, False)
        buffer[:] = bytes(512)
        assert begin(sessions) == ({}, True)

    def test_of_nobody_known_a_modem_keeps_none_and_the_host_does(self, buffer):
        assert not Resuming(Modem(store="modem"), buffer, saves=False).wanted(known=False)
        assert Resuming(Modem(store="host"), buffer, saves=False).wanted(known=False)

    def test_a_ticket_of_another_process_is_taken_for_nothing(self, buffer):
        sessions = Resuming(Modem(store="modem"), buffer, saves=True)
        resumption.write(buffer, sessions._engine(None), Kind.CONNECTION, BOUND + bytes(16))
        assert sessions.parked(BOUND, "pull", None) is None
        assert resumption.read(buffer, sessions._engine(None)).kind is Kind.TAKEN


class TestWhatTheModemMayHaveOnOtherTerms:
    """It files sessions by host and credentials, and nobody is verified when it takes one up."""

    LAX = bound_to("server.example", 443, TlsSettings(version=3, suites=("0",), ca="ca", check_hostname=False), b"")
    HERE, THERE = ("7",), ("8",)

    def connected(self, modem, bound, place, buffer):
        """Connect by another socket; whether the modem was told to forget."""
        sessions = Resuming(modem, buffer, saves=False)
        _, purge = sessions.begin(bound, place, resume=True, deadline=None)
        sessions.opened()
        sessions.made(slot())
        return purge

    def test_it_forgets_between_two_sockets_with_other_terms(self):
        modem, strict, lax = Modem(store="modem"), bytearray(512), bytearray(512)
        asked = [
            self.connected(modem, *each)
            for each in [
                (BOUND, self.HERE, strict),
                (self.LAX, self.HERE, lax),
                (BOUND, self.HERE, strict),
                (BOUND, self.HERE, strict),
                (self.LAX, self.HERE, lax),
            ]
        ]
        assert asked == [True, True, True, False, True]

    def test_what_of_a_bundle_is_used_makes_no_other_place(self):
        base = {"version": 3, "suites": ("0",), "bundle": "17", "ca": "17"}
        bare, mutual = TlsSettings(**base), TlsSettings(**base, cert="17", key="17")
        assert filed_under(bare) == filed_under(mutual)
        assert filed_under(bare) != filed_under(TlsSettings(**(base | {"bundle": "18"})))

    def test_without_bundles_there_is_one_place(self):
        base = {"version": 3, "suites": ("0",)}
        assert filed_under(TlsSettings(**base, ca="one")) == filed_under(TlsSettings(**base, ca="another", cert="own"))

    def test_those_of_other_credentials_do_not_meet(self):
        modem, one, other = Modem(store="modem"), bytearray(512), bytearray(512)
        assert self.connected(modem, BOUND, self.HERE, one)
        other[:] = one  # an earlier one of the same terms, as the buffer has it
        assert not self.connected(modem, BOUND, self.THERE, other)
        assert not self.connected(modem, BOUND, self.HERE, one)

    def test_what_was_made_before_this_process_is_forgotten(self, buffer):
        self.connected(Modem(store="modem"), BOUND, self.HERE, buffer)
        again = Modem(store="modem")
        assert self.connected(again, BOUND, self.HERE, buffer)
        assert not self.connected(again, BOUND, self.HERE, buffer)

    def test_a_connection_that_failed_may_have_left_one_and_have_forgotten_nothing(self, buffer):
        modem = Modem(store="modem")
        failing = Resuming(modem, buffer, saves=False)
        for _ in range(2):
            assert failing.begin(BOUND, self.HERE, resume=True, deadline=None) == ({}, True)
            failing.failed("connect_failed")
        self.connected(modem, BOUND, self.HERE, buffer)
        other = bytearray(buffer)
        failing = Resuming(modem, other, saves=False)
        resumption.write(other, failing._engine(None), Kind.SESSION, self.LAX)
        assert failing.begin(self.LAX, self.THERE, resume=True, deadline=None) == ({}, False)
        failing.failed("connect_failed")
        assert self.connected(modem, BOUND, self.THERE, bytearray(buffer))

    def test_between_forgetting_and_the_handshake_nobody_else_has_a_turn(self, buffer):
        modem = Modem(store="modem")
        one, other = Resuming(modem, buffer, saves=False), Resuming(modem, buffer, saves=False)
        begun, went = threading.Event(), []

        def second():
            begun.set()
            with other.turn(resume=True, deadline=None):
                went.append("second")

        thread = threading.Thread(target=second)
        with one.turn(resume=True, deadline=None):
            thread.start()
            assert begun.wait(5)
            thread.join(0.05)
            went.append("first")
        thread.join(5)
        assert went == ["first", "second"]
