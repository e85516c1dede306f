from __future__ import annotations

import errno
import threading
from dataclasses import replace

import pytest

from modemtls.errors import CommandError, ModemError, ModemRestartedError, ModemTimeoutError
from modemtls.modem.contexts import ContextPool
from modemtls.modem.settings import TlsSettings
from tests.support.modem_fakes import Answer, FakeHost, refusal

PLAIN = TlsSettings(version=3, suites=("0XFFFF",), ca="mtls-ca")


def other(n):
    return replace(PLAIN, handshake_timeout=10 + n)


class Pool:
    def __init__(self, numbers=(0, 1, 2), **options):
        self.host = FakeHost(tls_configure=Answer(), tls_verify=Answer())
        self.foreign = {}
        self.pool = ContextPool(self.host, numbers, foreign=lambda deadline: self.foreign, **options)
        self.kept = []  # a lease that nobody refers to is none

    def lease(self, settings):
        self.kept.append(self.pool.lease(settings))
        return self.kept[-1]


@pytest.fixture
def modem():
    return Pool()


def test_configured_and_read_back_once_per_configuration(modem):
    one = modem.lease(PLAIN)
    assert modem.host.ops() == ["tls_configure", "tls_verify"]
    assert modem.host.calls[0][1] == modem.host.calls[1][1] == {"context": one.number, **PLAIN.bindings()}
    two = modem.lease(replace(PLAIN))
    assert two.number == one.number
    assert len(modem.host.calls) == 2
    one.release()
    two.release()
    assert modem.lease(PLAIN).number == one.number
    assert len(modem.host.calls) == 2


def test_another_configuration_gets_another_context(modem):
    with modem.lease(PLAIN) as one, modem.lease(other(1)) as two:
        assert one.number != two.number


def test_one_configuration_more_than_contexts_is_a_clear_error_and_sends_nothing(modem):
    leases = [modem.lease(other(n)) for n in range(3)]
    sent = len(modem.host.calls)
    with pytest.raises(ModemError, match="all 3 TLS contexts") as caught:
        modem.lease(other(3))
    assert caught.value.errno == errno.EBUSY
    assert len(modem.host.calls) == sent
    leases[1].release()
    assert modem.lease(other(3)).number == leases[1].number


def test_a_lease_that_nobody_refers_to_is_none(modem):
    for n in range(3):
        modem.pool.lease(other(n))
    assert modem.pool.names_in_use() == frozenset()
    kept = [modem.pool.lease(other(10 + n)) for n in range(3)]
    assert len({lease.number for lease in kept}) == 3


def test_the_least_recently_used_idle_context_is_reused(modem):
    leases = [modem.lease(other(n)) for n in range(3)]
    for lease in leases:
        lease.release()
    modem.lease(other(0)).release()
    assert modem.lease(other(9)).number == leases[1].number


def test_releasing_twice_gives_back_once(modem):
    one = modem.lease(PLAIN)
    two = modem.lease(PLAIN)
    one.release()
    one.release()
    for n in range(2):
        modem.lease(other(n))
    with pytest.raises(ModemError):
        modem.lease(other(2))  # `two` still uses its context
    two.release()
    modem.lease(other(2))


def test_a_share_keeps_the_context(modem):
    with modem.lease(PLAIN) as lease:
        share = lease.share()
    assert modem.pool.names_in_use() == {"mtls-ca"}
    for n in range(2):
        modem.lease(other(n))
    with pytest.raises(ModemError):
        modem.lease(other(2))
    share.release()
    assert modem.pool.names_in_use() == {"mtls-ca"}  # the two others'
    assert modem.lease(replace(PLAIN, ca="mtls-else")).number == share.number


def test_a_restart_wipes_what_was_configured(modem):
    old = modem.lease(PLAIN)
    modem.host.epoch += 1
    assert modem.pool.names_in_use() == frozenset()
    new = modem.lease(PLAIN)
    assert modem.host.count("tls_configure") == 2
    more = [modem.lease(other(n)) for n in range(2)]
    old.release()  # must not take anything away from those that use its context now
    with pytest.raises(ModemError):
        modem.lease(other(5))
    assert new.epoch == 2
    with pytest.raises(ModemRestartedError):
        old.share()
    for lease in (new, *more):
        lease.release()
    for n in range(3):
        modem.lease(other(10 + n))  # users of before the restart do not count


def test_settings_that_outlast_a_restart_are_read_back_and_not_written_again():
    modem = Pool(survive=True)
    for n in range(2):
        modem.lease(other(n))
    one = modem.lease(PLAIN)
    modem.host.epoch += 1
    modem.host.calls.clear()
    again = modem.lease(PLAIN)
    assert (again.number, again.epoch) == (one.number, 2)
    assert modem.host.ops() == ["tls_verify"]
    modem.lease(PLAIN)
    assert modem.host.ops() == ["tls_verify"]
    assert modem.lease(other(7)).number != one.number
    assert modem.host.ops() == ["tls_verify", "tls_configure", "tls_verify"]


def test_settings_that_did_not_outlast_a_restart_after_all_are_written_again(caplog):
    caplog.set_level("INFO")
    modem = Pool(survive=True)
    modem.lease(PLAIN)
    modem.host.epoch += 1
    modem.host.calls.clear()
    modem.host.on["tls_verify"] = [refusal("mismatch"), Answer()]
    modem.lease(PLAIN)
    assert modem.host.ops() == ["tls_verify", "tls_configure", "tls_verify"]
    assert "did not outlast the restart" in caplog.text
    modem.host.epoch += 1
    modem.host.calls.clear()
    del modem.host.on["tls_verify"]  # nothing to tell by
    modem.lease(PLAIN)
    assert modem.host.ops() == ["tls_configure"]


def test_a_restart_in_the_middle_is_noticed(modem):
    def restart(bindings):
        modem.host.epoch += 1
        return Answer()

    modem.host.on["tls_verify"] = [restart, Answer()]
    with pytest.raises(ModemRestartedError):
        modem.lease(PLAIN)
    modem.lease(PLAIN)
    assert modem.host.count("tls_configure") == 2


@pytest.mark.parametrize("failure", [refusal("parameter"), KeyboardInterrupt()])
@pytest.mark.parametrize("op", ["tls_configure", "tls_verify"])
def test_a_half_configured_context_is_never_used(modem, op, failure):
    modem.host.on[op] = [failure, Answer()]
    with pytest.raises(type(failure)):
        modem.lease(PLAIN)
    modem.host.calls.clear()
    modem.lease(PLAIN)
    assert modem.host.ops() == ["tls_configure", "tls_verify"]


def test_what_a_failed_configuration_has_overwritten_is_not_believed_any_more():
    modem = Pool(numbers=(0,))
    modem.lease(PLAIN).release()
    modem.host.on["tls_configure"] = [refusal("parameter"), Answer()]
    with pytest.raises(CommandError):
        modem.lease(other(1))
    modem.lease(PLAIN)
    assert modem.host.count("tls_configure") == 3


def test_a_failure_says_which_context(modem):
    modem.host.on["tls_verify"] = refusal("mismatch", text="level is 0, not 1")
    with pytest.raises(CommandError, match=r"TLS context 2: .*level is 0"):
        modem.lease(PLAIN)


def test_contexts_of_foreign_sockets_are_left_alone(modem):
    modem.foreign = {7: 2, 8: 1}
    assert modem.lease(PLAIN).number == 0
    with pytest.raises(ModemError, match="another program"):
        modem.lease(other(1))
    modem.foreign = {}
    modem.lease(other(1))


def test_foreign_sockets_of_unknown_context_forbid_reconfiguring(modem):
    modem.lease(PLAIN)
    modem.foreign = {7: None}
    modem.lease(PLAIN)
    with pytest.raises(ModemError, match="does not tell which"):
        modem.lease(other(1))


def test_two_threads_configure_one_context_once(modem):
    inside = threading.Event()
    go = threading.Event()

    def slow(bindings):
        inside.set()
        assert go.wait(5)
        return Answer()

    modem.host.on["tls_configure"] = slow
    got = []
    threads = [threading.Thread(target=lambda: got.append(modem.lease(PLAIN).number)) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert inside.wait(5)
    go.set()
    for thread in threads:
        thread.join(5)
    assert len(set(got)) == 1
    assert len(got) == 2
    assert modem.host.count("tls_configure") == 1


def test_without_readback_the_configuration_is_still_written(modem):
    del modem.host.on["tls_verify"]
    modem.lease(PLAIN)
    assert modem.host.ops() == ["tls_configure"]


# -- what may have hidden a restart --------------------------------------------------------------------------------


def doubting(modem, answer=None):
    """An operation in whose course something happens that makes no sense."""

    def run(bindings):
        modem.host.raise_doubt("a line that the profile does not know")
        if answer is not None:
            raise answer
        return Answer()

    return run


def test_after_a_doubt_a_context_is_read_back_again_and_once_only(modem):
    modem.lease(PLAIN).release()
    modem.host.raise_doubt("APP RDY")
    modem.host.calls.clear()
    modem.lease(PLAIN)
    modem.lease(PLAIN)
    assert modem.host.ops() == ["tls_verify"]
    assert modem.host.ended == []


@pytest.mark.parametrize("failure", [refusal("mismatch"), refusal("unknown")])
def test_a_context_that_is_not_as_it_was_ends_the_epoch(modem, failure):
    modem.lease(PLAIN)
    modem.host.raise_doubt("APP RDY")
    modem.host.on["tls_verify"] = [failure, Answer()]
    with pytest.raises(ModemRestartedError, match="unnoticed"):
        modem.lease(PLAIN)
    assert len(modem.host.ended) == 1
    modem.lease(PLAIN)
    assert modem.host.count("tls_configure") == 2


def test_a_read_back_that_failed_for_another_reason_is_not_taken_for_one(modem):
    modem.lease(PLAIN)
    modem.host.raise_doubt("APP RDY")
    modem.host.on["tls_verify"] = [ModemTimeoutError("no answer"), refusal("mismatch")]
    with pytest.raises(ModemTimeoutError):
        modem.lease(PLAIN)
    with pytest.raises(ModemRestartedError):
        modem.lease(PLAIN)


def test_what_was_read_while_something_made_no_sense_is_read_again(modem):
    modem.host.on["tls_verify"] = [doubting(modem), Answer()]
    modem.lease(PLAIN)
    assert modem.host.ops() == ["tls_configure", "tls_verify", "tls_verify"]
    modem.lease(PLAIN)
    assert len(modem.host.calls) == 3


def test_a_garbled_answer_to_a_read_back_is_no_mismatch(modem):
    modem.host.on["tls_verify"] = [doubting(modem, refusal("mismatch")), Answer()]
    modem.lease(PLAIN)
    assert modem.host.ended == []


def test_a_line_that_is_never_quiet_is_an_error_and_nothing_is_given_out(modem):
    modem.host.on["tls_verify"] = doubting(modem)
    with pytest.raises(ModemRestartedError, match="too disturbed"):
        modem.lease(PLAIN)


def test_a_mismatch_at_once_is_the_modems_and_no_restart(modem):
    modem.host.on["tls_verify"] = refusal("mismatch")
    with pytest.raises(CommandError, match="TLS context 2"):
        modem.lease(PLAIN)
    assert modem.host.ended == []
    assert modem.host.doubts == 1


def test_a_lease_is_sure_until_a_doubt(modem):
    lease = modem.lease(PLAIN)
    lease.check()
    lease.confirm()
    assert len(modem.host.calls) == 2
    modem.host.raise_doubt("a time-out")
    lease.check()
    lease.share().check()
    assert modem.host.ops()[2:] == ["tls_verify"]


def test_each_lease_stands_for_what_was_read_for_it(modem):
    """That another connection found the settings in order later does not tell how they were at this one's opening."""
    early = modem.lease(PLAIN)
    modem.host.raise_doubt("a time-out")
    modem.lease(PLAIN)
    modem.host.on["tls_verify"] = refusal("mismatch")
    with pytest.raises(CommandError):
        early.check()
    assert modem.host.ended == []
    with pytest.raises(ModemRestartedError):
        early.confirm()
    assert len(modem.host.ended) == 1
    with pytest.raises(ModemRestartedError):
        early.check()


def test_a_share_stands_for_what_was_read_for_the_lease_that_it_is_of(modem):
    early = modem.lease(PLAIN)
    modem.host.raise_doubt("a time-out")
    modem.lease(PLAIN)  # read back and right: for this one
    share = early.share()
    modem.host.on["tls_verify"] = refusal("mismatch")
    with pytest.raises(CommandError):
        share.check()


def test_what_is_read_back_right_behind_a_restart_says_nothing_of_the_time_before(modem):
    """Somebody else may have set it up in the same way."""
    lease = modem.lease(PLAIN)
    modem.host.raise_doubt("a time-out")

    def restart(bindings):
        modem.host.end_epoch("RDY")
        return Answer()

    modem.host.on["tls_verify"] = restart
    for check in (lease.check, lease.confirm):
        with pytest.raises(ModemRestartedError):
            check()
        lease.epoch = modem.host.epoch
        modem.host.raise_doubt("a time-out")


def test_what_cannot_be_read_back_is_written_again_and_never_confirmed(modem):
    del modem.host.on["tls_verify"]
    lease = modem.lease(PLAIN)
    modem.host.raise_doubt("a time-out")
    with pytest.raises(CommandError, match="cannot be read back"):
        lease.check()
    modem.lease(PLAIN).check()
    assert modem.host.ops() == ["tls_configure"] * 2
