"""Certificates and keys where the modem keeps bundles under numbers, tells digests, and wants its radio off."""

from __future__ import annotations

import contextlib
import hashlib

import pytest

from modemtls.at.grammar import Outcome
from modemtls.errors import CredentialError, ModemTimeoutError
from modemtls.modem.bundles import BundleStore
from modemtls.modem.credentials import CredentialStore
from modemtls.modem.pem import normalise
from modemtls.modem.radio import RadioSilence
from modemtls.profile.codecs import CODECS
from tests.support.modem_fakes import Answer, FakeHost, refusal

TAGS = (1000, 1999)
PSK = {"psk": b"\x00key\xff", "psk_identity": b"device-1"}


class Tags:
    """A modem's store: number and kind to what was written between the quotes. ``fail``: errors of the next writes."""

    def __init__(self, *, limits=None, writing=None, psk_digest=lambda text: text):
        self.things: dict[tuple[str, str], bytes] = {}
        self.fail = []
        self.garble = 0  # so many of the next writes lose a byte
        self.room = 99
        self.psk_digest = psk_digest
        self.host = FakeHost(credential_write=self.write, credential_list=self.list, credential_delete=self.delete)
        self.used = frozenset()
        self.limits = {"credential_tags": TAGS, **(limits or {})}
        self.writing = writing
        self.store = self.again()

    def again(self):
        """The store of another process."""
        return BundleStore(
            self.host,
            ready=lambda deadline: None,
            names_in_use=lambda: self.used,
            limits=self.limits,
            behaviour={"credential_store": "tagged", "credential_digest": "sha256"},
            kinds=True,
            writing=self.writing,
        )

    def write(self, given):
        if self.fail:
            return self.fail.pop(0)
        if len(self.things) >= self.room:
            return refusal("no_space", 515)
        text = given["data"].hex().upper().encode() if given["kind"] == "psk" else given["data"]
        if self.garble:
            self.garble -= 1
            text = text[:-1]
        self.things[given["name"], given["kind"]] = text
        return Answer()

    def list(self, given):
        rows = [{"name": "4294967292", "kind": "other", "digest": "AA" * 32}]
        for (name, kind), text in self.things.items():
            content = self.psk_digest(text) if kind == "psk" else text
            rows.append({"name": name, "kind": kind, "digest": hashlib.sha256(content).hexdigest().upper()})
        return Answer(rows=rows)

    def delete(self, given):
        gone = self.things.pop((given["name"], given["kind"]), None)
        return Answer(Outcome.OK if gone is not None else Outcome.ABSENT)

    def of(self, number):
        return {kind for name, kind in self.things if name == number}


@pytest.fixture(scope="module")
def pair(pki):
    leaf = pki.client("bundled")
    return {"ca": pki.ca.read_bytes(), "cert": leaf.cert_pem, "key": leaf.key_pem}


def test_everything_of_a_connection_lies_under_one_number(pair):
    tags = Tags()
    names = tags.store.ensure_all(pair)
    number = names["bundle"]
    assert names == {"ca": number, "cert": number, "key": number, "bundle": number}
    assert TAGS[0] <= int(number) <= TAGS[1]
    assert tags.things[number, "ca"] == normalise("ca", pair["ca"])
    assert tags.of(number) == {"ca", "cert", "key"}


def test_what_is_there_is_not_written_again_by_this_process_or_another(pair):
    tags = Tags()
    first = tags.store.ensure_all(pair)
    tags.host.calls.clear()
    assert tags.store.ensure_all(pair) == first
    assert tags.host.ops() == []
    assert tags.again().ensure_all(pair) == first
    assert tags.host.ops() == ["credential_list"]


def test_other_content_has_another_number(pair):
    tags = Tags()
    numbers = {
        tags.store.ensure_all(material)["bundle"]
        for material in (pair, {"ca": pair["ca"]}, PSK, {**PSK, "psk": b"other"}, {**PSK, "psk_identity": b"other"})
    }
    assert len(numbers) == 5


def salted(text):
    """A digest of something that no document tells."""
    return b"salted" + text


@pytest.mark.parametrize(
    "digest",
    [lambda text: text, lambda text: text.lower(), lambda text: bytes.fromhex(text.decode())],
    ids=["of the digits", "of small digits", "of the bytes"],
)
def test_a_pre_shared_key_is_found_again_by_its_digest(digest):
    tags = Tags(psk_digest=digest)
    names = tags.store.ensure_all(PSK)
    assert names.keys() == {"psk", "bundle"}
    assert tags.things[names["psk"], "psk"] == b"006B6579FF"
    assert tags.things[names["psk"], "psk_identity"] == b"device-1"
    tags.host.calls.clear()
    assert tags.again().ensure_all(PSK) == names
    assert tags.host.count("credential_write") == 0


@pytest.mark.parametrize("digest", [lambda text: text, salted], ids=["of the digits", "of something else"])
def test_another_key_under_the_number_and_with_the_identity_is_replaced_and_never_used(digest):
    """Somebody's, or this driver's that lost a digit on the line and whose process died before it looked."""
    tags = Tags(psk_digest=digest)
    number = tags.store.ensure_all(PSK)["psk"]
    for store in (tags.store, tags.again()):
        tags.things[number, "psk"] = b"EEEE"
        store.look_again()
        assert store.ensure_all(PSK)["psk"] == number
        assert tags.things == {(number, "psk"): b"006B6579FF", (number, "psk_identity"): b"device-1"}


def test_another_key_is_not_used_either_where_nothing_may_be_written():
    silence = Radio().silence
    tags = Tags()
    number = tags.store.ensure_all(PSK)["psk"]
    tags.things[number, "psk"] = b"EEEE"
    tags.writing = silence.writing
    with pytest.raises(CredentialError, match="radio_off=True"):
        tags.again().ensure_all(PSK)


def test_a_key_that_was_changed_on_the_line_is_written_once_more():
    tags = Tags()
    tags.garble = 1
    number = tags.store.ensure_all(PSK)["psk"]
    assert tags.things[number, "psk"] == b"006B6579FF"


def test_a_digest_of_nobody_knows_what_is_remembered_by_the_process_that_wrote():
    """It is not written for ever, neither by this process nor by the next, and always under the same number."""
    tags = Tags(psk_digest=salted)
    for store in (tags.store, tags.again()):
        tags.host.calls.clear()
        names = store.ensure_all(PSK)
        assert tags.host.count("credential_write") == 4  # key and identity, twice
        for _ in range(3):
            store.look_again()
            assert store.ensure_all(PSK) == names
        assert tags.host.count("credential_write") == 4
    assert len(tags.things) == 2


def test_a_digest_that_came_once_is_not_enough_and_the_first_one_may_have_been_the_wrong_one():
    tags = Tags(psk_digest=salted)
    tags.garble = 1
    with pytest.raises(CredentialError, match="not what was sent"):
        tags.store.ensure_all(PSK)
    assert tags.things == {}
    number = tags.store.ensure_all(PSK)["psk"]
    assert tags.things[number, "psk"] == b"006B6579FF"
    assert tags.host.count("credential_write") == 6


def test_where_the_digests_of_keys_are_known_no_other_is_learned():
    tags = Tags()
    tags.store.ensure_all({**PSK, "psk": b"other"})
    put = tags.host.on["credential_write"]

    def spoiled(given):
        answer = put(given)
        if given["kind"] == "psk":
            tags.things[given["name"], "psk"] = b"EEEE"  # by whoever is quicker, each time
        return answer

    tags.host.on["credential_write"] = spoiled
    for _ in range(2):
        with pytest.raises(CredentialError, match="not what was sent"):
            tags.store.ensure_all(PSK)


def test_a_number_that_something_else_is_under_is_left_alone(pair):
    tags = Tags()
    wanted = {"ca": pair["ca"]}
    number = tags.store.ensure_all(wanted)["bundle"]
    theirs = {(number, "ca"): b"somebody's", (number, "key"): b"somebody's key"}
    tags.things = dict(theirs)
    taken = tags.again().ensure_all(wanted)["bundle"]
    assert int(taken) == TAGS[0] + (int(number) + 1 - TAGS[0]) % 1000
    assert theirs.items() <= tags.things.items()


def test_a_bundle_with_something_more_in_it_is_another(pair):
    tags = Tags()
    wanted = {"ca": pair["ca"]}
    number = tags.store.ensure_all(wanted)["bundle"]
    tags.things[number, "key"] = b"somebody has put a key beside it"
    assert tags.again().ensure_all(wanted)["bundle"] != number


def test_a_bundle_that_was_begun_by_a_process_that_died_is_completed(pair):
    tags = Tags()
    number = tags.store.ensure_all(pair)["bundle"]
    del tags.things[number, "key"]
    tags.host.calls.clear()
    assert tags.again().ensure_all(pair)["bundle"] == number
    assert [given["kind"] for op, given in tags.host.calls if op == "credential_write"] == ["key"]


def test_what_was_there_of_it_is_written_as_well_when_completing_it_goes_wrong(pair):
    tags = Tags()
    number = tags.store.ensure_all(pair)["bundle"]
    del tags.things[number, "key"]
    tags.garble = 1
    tags.again().ensure_all(pair)
    assert tags.of(number) == {"ca", "cert", "key"}


def test_what_lost_a_byte_on_the_line_is_written_once_more_and_then_given_up(pair):
    tags = Tags()
    tags.garble = 1
    number = tags.store.ensure_all(pair)["bundle"]
    assert tags.things[number, "ca"] == normalise("ca", pair["ca"])
    assert tags.of(number) == {"ca", "cert", "key"}
    tags = Tags()
    tags.garble = 9
    with pytest.raises(CredentialError, match="not what was sent"):
        tags.store.ensure_all(pair)
    assert tags.things == {}


@pytest.mark.parametrize("failure", [refusal("parameter", 527), ModemTimeoutError("no answer")])
def test_what_was_not_written_whole_is_never_used(pair, failure):
    tags = Tags()
    tags.fail = [Answer(), failure, failure]
    with pytest.raises((CredentialError, ModemTimeoutError)):
        tags.store.ensure_all(pair)
    tags.fail = []
    number = tags.store.ensure_all(pair)["bundle"]
    assert tags.of(number) == {"ca", "cert", "key"}
    assert tags.store.list()[0].name == number


def test_room_is_made_by_the_bundle_unused_for_longest_and_never_by_one_in_use(pair):
    tags = Tags()
    old, used = (tags.store.ensure_all({**PSK, "psk": key})["bundle"] for key in (b"old", b"used"))
    tags.room = 4
    tags.used = frozenset({used})
    tags.things["77", "ca"] = b"somebody's"
    tags.room = 5
    tags.store.ensure_all({"ca": pair["ca"]})
    assert tags.of(old) == set()
    assert tags.of(used) == {"psk", "psk_identity"}
    assert tags.of("77") == {"ca"}
    tags.room = len(tags.things)
    tags.used |= {one.name for one in tags.store.list()}
    with pytest.raises(CredentialError) as caught:
        tags.store.ensure_all({**PSK, "psk": b"new"})
    assert caught.value.errno == 28  # ENOSPC


def test_only_the_drivers_own_are_listed_and_removed(pair):
    tags = Tags()
    own = tags.store.ensure_all({"ca": pair["ca"]})["bundle"]
    tags.things["1234", "ca"] = b"somebody's"
    again = tags.again()
    assert [one.name for one in again.list()] == [own]
    with pytest.raises(CredentialError, match="not a name that the driver gives"):
        again.remove("1234")
    assert again.purge() == [own]
    assert tags.things == {("1234", "ca"): b"somebody's"}


def test_a_key_without_its_identity_and_a_key_that_is_too_long_fail_before_anything_is_sent():
    tags = Tags(limits={"psk_key": 16, "psk_identity": 8})
    for material, says in (
        ({"psk": b"k"}, "belong together"),
        ({"psk": b"", "psk_identity": b"i"}, "empty"),
        ({"psk": bytes(17), "psk_identity": b"i"}, "17 bytes, and this modem takes 16"),
        ({"psk": b"k", "psk_identity": bytes(9)}, "9 bytes, and this modem takes 8"),
    ):
        with pytest.raises(CredentialError, match=says):
            tags.store.check(material)
    assert tags.host.calls == []


# -- files that are told by digest ------------------------------------------------------------------------------------


class Digests:
    """A modem that keeps one DER object of each kind under a name, lists no size, and tells the MD5 when asked."""

    def __init__(self):
        self.files: dict[tuple[str, str], bytes] = {}
        self.host = FakeHost(
            credential_write=self.write,
            credential_list=lambda given: Answer(rows=[{"name": n, "kind": k} for n, k in self.files]),
            credential_delete=lambda given: Answer() if self.files.pop((given["name"], given["kind"])) else None,
            credential_digest=self.digest,
        )

    def store(self):
        return CredentialStore(
            self.host,
            ready=lambda deadline: None,
            names_in_use=frozenset,
            limits={"credential_chain": 1, "credential_size": 8192},
            behaviour={"credential_form": "der", "credential_digest": "md5-der"},
            kinds=True,
        )

    def write(self, given):
        self.files[given["name"], given["kind"]] = given["data"]
        return Answer()

    def digest(self, given):
        found = self.files.get((given["name"], given["kind"]))
        if found is None:
            return Answer(Outcome.ABSENT)
        return Answer(values={"digest": hashlib.md5(found).hexdigest().upper()})


def test_der_goes_in_and_the_digest_tells_that_it_is_there(pair):
    modem = Digests()
    names = modem.store().ensure_all(pair)
    assert modem.files[names["ca"], "ca"] == CODECS["der"].convert(normalise("ca", pair["ca"]))
    modem.host.calls.clear()
    assert modem.store().ensure_all(pair) == names
    assert modem.host.ops() == ["credential_list", "credential_digest", "credential_digest", "credential_digest"]
    assert modem.host.calls[1][1] == {"name": names["ca"], "kind": "ca"}


def test_what_has_our_name_and_other_content_is_replaced(pair):
    modem = Digests()
    name = modem.store().ensure("ca", pair["ca"])
    right = modem.files[name, "ca"]
    modem.files[name, "ca"] = b"\x30\x03another"
    assert modem.store().ensure("ca", pair["ca"]) == name
    assert modem.files == {(name, "ca"): right}


def test_one_text_as_two_kinds_is_two_files(pair):
    modem = Digests()
    names = modem.store().ensure_all({"ca": pair["ca"], "peer": pair["ca"]})
    assert names["ca"] != names["peer"]
    assert {kind for _, kind in modem.files} == {"ca", "peer"}


def test_a_chain_is_refused_where_a_file_is_one_certificate(pair):
    with pytest.raises(CredentialError, match="2 certificates, and this modem takes 1"):
        Digests().store().check({"ca": pair["ca"] + pair["cert"]})


# -- the radio --------------------------------------------------------------------------------------------------------


class Radio:
    def __init__(self, level=1, *, consent=False, busy=""):
        self.level = level
        self.log = []
        self.busy = busy
        self.host = FakeHost(
            radio_state=lambda given: Answer(values={"level": self.level}),
            radio_off=lambda given: self.to(4),
            radio_on=lambda given: self.to(1),
        )
        self.silence = RadioSilence(
            self.host,
            still=lambda deadline: contextlib.nullcontext(),
            busy=lambda deadline: self.busy,
            went_off=lambda: self.log.append("down"),
            consent=consent,
        )

    def to(self, level):
        self.level = level
        self.log.append(level)
        return Answer()


@pytest.mark.parametrize("level", [0, 4])
def test_a_radio_that_is_off_still_stays_so(level, pair):
    radio = Radio(level)
    tags = Tags(writing=radio.silence.writing)
    tags.store.ensure_all(pair)
    assert (radio.level, radio.log) == (level, [])


def test_a_radio_that_is_on_stays_on_without_consent_and_the_error_says_the_way_out(pair):
    radio = Radio()
    tags = Tags(writing=radio.silence.writing)
    with pytest.raises(CredentialError, match="radio_off=True"):
        tags.store.ensure_all(pair)
    assert (radio.log, tags.things) == ([], {})


def test_with_consent_it_goes_off_once_for_a_whole_bundle_and_comes_back(pair):
    radio = Radio(consent=True)
    tags = Tags(writing=radio.silence.writing)
    write, levels = tags.host.on["credential_write"], []
    tags.host.on["credential_write"] = lambda given: (levels.append(radio.level), write(given))[1]
    tags.store.ensure_all(pair)
    assert radio.log == ["down", 4, 1]
    assert levels == [4, 4, 4]
    tags.store.ensure_all(pair)  # nothing to write
    assert radio.log == ["down", 4, 1]
    tags.store.purge()
    assert radio.log == ["down", 4, 1] * 2


def test_it_comes_back_when_writing_fails(pair):
    radio = Radio(consent=True)
    tags = Tags(writing=radio.silence.writing)
    tags.fail = [refusal("parameter", 527)] * 2
    with pytest.raises(CredentialError):
        tags.store.ensure_all(pair)
    assert radio.level == 1


def test_an_open_socket_keeps_it_on(pair):
    radio = Radio(consent=True, busy="1 connection of this program")
    tags = Tags(writing=radio.silence.writing)
    with pytest.raises(CredentialError, match="1 connection of this program"):
        tags.store.ensure_all(pair)
    assert radio.log == []
