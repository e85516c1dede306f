from __future__ import annotations

import errno
import hashlib

import pytest
import trustme

from modemtls.at.grammar import Outcome
from modemtls.errors import CredentialError, ModemRestartedError, ModemTimeoutError, NotSupportedError
from modemtls.modem.credentials import CredentialStore, check_sizes, content_name
from modemtls.modem.pem import check_pair, normalise
from tests.support.modem_fakes import Answer, FakeHost, refusal


class Material:
    def __init__(self, pki):
        self.pki = pki
        self.made = {}

    def ca_pem(self):
        return self.pki.ca.read_bytes()

    def client_pem(self, name="gateway"):
        if name not in self.made:
            leaf = self.pki.client(name.replace(" ", "-"))
            self.made[name] = leaf.cert_pem, leaf.key_pem
        return self.made[name]


@pytest.fixture(scope="module")
def material(pki):
    return Material(pki)


class Files:
    """A modem's file system. `space` in bytes; `fail` are errors for the next writes; `limits` as in a profile."""

    def __init__(self, space=100_000, limits=None, **foreign):
        self.space = space
        self.limits = limits or {}
        self.files: dict[str, bytes] = {name: b"x" * size for name, size in foreign.items()}
        self.fail = []
        self.uploads = 0
        self.host = FakeHost(
            credential_write=self.write,
            credential_list=self.list,
            credential_delete=self.delete,
            credential_space=self.free,
        )
        self.used = frozenset()
        self.store = self.again()

    def again(self):
        """The store of another process."""
        return CredentialStore(
            self.host, ready=lambda deadline: None, names_in_use=lambda: self.used, limits=self.limits
        )

    def left(self):
        return self.space - sum(map(len, self.files.values()))

    def write(self, given):
        self.uploads += 1
        assert given["size"] == len(given["data"])
        if given["name"] in self.files:
            return refusal("exists", 407)
        if self.fail:
            failure, kept = self.fail.pop(0)
            self.files[given["name"]] = given["data"][:kept]
            return failure
        if len(given["data"]) > self.left():
            return refusal("no_space", 403)
        self.files[given["name"]] = given["data"]
        return Answer()

    def list(self, given):
        return Answer(rows=[{"name": name, "size": len(data)} for name, data in self.files.items()])

    def delete(self, given):
        return Answer(Outcome.OK if self.files.pop(given["name"], None) is not None else Outcome.ABSENT)

    def free(self, given):
        return Answer(values={"free": self.left(), "total": self.space})


# --- PEM


def test_only_the_blocks_asked_for_with_lf_line_ends(material):
    cert, key = material.client_pem()
    mixed = (
        b"\xef\xbb\xbfsubject: someone\r\n" + key.replace(b"\n", b"\r\n") + b"\r\n\r\n" + cert.replace(b"\n", b"\r\n")
    )
    assert normalise("cert", mixed) == normalise("cert", cert)
    assert normalise("key", mixed) == normalise("key", key)
    assert b"\r" not in normalise("cert", mixed)
    assert normalise("cert", b"\xef\xbb\xbf" + cert) == normalise("cert", cert)
    assert normalise("cert", mixed).count(b"-----BEGIN") == 1


def test_normalising_is_idempotent_and_wraps_at_64(material):
    once = normalise("ca", material.ca_pem())
    assert normalise("ca", once) == once
    assert max(map(len, once.splitlines())) <= 64
    assert once == normalise("ca", b"".join(once.splitlines(keepends=True)).replace(b"=\n-", b"=\n\n-"))


@pytest.mark.parametrize(
    ("kind", "text", "says"),
    [
        ("ca", b"", "empty"),
        ("ca", b"hello", "not PEM"),
        ("ca", b"\x30\x82\x01\x0a" + bytes(300), "DER"),
        ("ca", b"-----BEGIN CERTIFICATE-----\nAAAA\n", "no end"),
        ("ca", b"-----BEGIN CERTIFICATE-----\nAA!A\n-----END CERTIFICATE-----\n", "not base64"),
        ("ca", b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", "is empty"),
        ("ca", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "does not hold a certificate"),
        ("ca", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END PRIVATE KEY-----\n", "does not end as"),
        ("ca", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----BEGIN CERTIFICATE-----\n", "before the one before it"),
        ("ca", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "it holds PRIVATE KEY"),
        ("key", b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", "encrypted"),
        (
            "key",
            (
                b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n"
                b"-----END RSA PRIVATE KEY-----\n"
            ),
            "encrypted",
        ),
        ("key", 2 * b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "2 keys"),
        ("ca", b"x" * 2_000_000, "more than any"),
    ],
)
def test_what_is_no_pem_is_refused_in_one_clear_line(kind, text, says):
    with pytest.raises(CredentialError, match=says) as caught:
        normalise(kind, text)
    assert "\n" not in str(caught.value)


def test_hostile_text_takes_linear_time():
    for piece in (b"-----BEGIN CERTIFICATE-----", b"-----BEGIN ", b"-----END X-----\n", b"\n", b"\r"):
        with pytest.raises(CredentialError):
            normalise("ca", piece * (900_000 // len(piece)))


def test_a_key_has_to_fit_its_certificate(material):
    cert, key = material.client_pem()
    check_pair(normalise("cert", cert), normalise("key", key))
    _, other = material.client_pem("somebody else")
    with pytest.raises(CredentialError, match="does not belong"):
        check_pair(normalise("cert", cert), normalise("key", other))
    garbage = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
    with pytest.raises(CredentialError, match="cannot be read"):
        check_pair(normalise("cert", cert), garbage)


@pytest.mark.parametrize("ours", list(trustme.KeyType))
@pytest.mark.parametrize("other", list(trustme.KeyType))
def test_a_key_of_another_pair_does_not_belong_whatever_its_kind(ours, other):
    one, two = (trustme.CA(key_type=kind).issue_cert("device.example", key_type=kind) for kind in (ours, other))
    certificate = normalise("cert", one.cert_chain_pems[0].bytes())
    check_pair(certificate, normalise("key", one.private_key_pem.bytes()))
    with pytest.raises(CredentialError, match="does not belong to the client certificate"):
        check_pair(certificate, normalise("key", two.private_key_pem.bytes()))


def test_errors_never_show_key_material(material):
    _, key = material.client_pem()
    broken = key.replace(b"\n-----END", b"!\n-----END")
    with pytest.raises(CredentialError) as caught:
        normalise("key", broken)
    lines = [line.decode() for line in key.splitlines() if not line.startswith(b"-")]
    assert not any(line in str(caught.value) for line in lines)


# --- the store


@pytest.fixture
def ca(material):
    return material.ca_pem()


def test_uploaded_once_under_a_name_made_of_its_content(ca):
    modem = Files()
    name = modem.store.ensure("ca", ca)
    pem = normalise("ca", ca)
    assert name == "mtls-" + hashlib.sha256(pem).hexdigest()[: len(name) - 5]
    assert modem.files == {name: pem}
    before = len(modem.host.calls)
    assert modem.store.ensure("ca", ca.replace(b"\n", b"\r\n")) == name
    assert len(modem.host.calls) == before  # known in this epoch: not one command
    assert modem.again().ensure("ca", ca) == name
    assert modem.uploads == 1


def test_after_a_restart_it_is_looked_up_not_uploaded(ca):
    modem = Files()
    modem.store.ensure("ca", ca)
    modem.host.epoch += 1
    modem.host.calls.clear()
    modem.store.ensure("ca", ca)
    assert modem.host.ops() == ["credential_list"]


def test_a_file_of_the_wrong_size_is_replaced(ca):
    modem = Files()
    name = modem.store.ensure("ca", ca)
    modem.files[name] = modem.files[name][:-1]
    assert modem.again().ensure("ca", ca) == name
    assert modem.files[name] == normalise("ca", ca)


def test_a_bad_upload_is_removed_and_repeated_once(ca):
    modem = Files()
    modem.fail = [(refusal("mismatch"), 10)]
    name = modem.store.ensure("ca", ca)
    assert (modem.uploads, modem.files[name]) == (2, normalise("ca", ca))
    modem = Files()
    modem.fail = [(refusal("mismatch"), 10)] * 5
    with pytest.raises(CredentialError, match="did not store the ca"):
        modem.store.ensure("ca", ca)
    assert (modem.uploads, modem.files) == (2, {})


def test_an_upload_without_an_answer_counts_if_all_of_it_is_there(ca, caplog):
    modem = Files()
    modem.fail = [(ModemTimeoutError("no answer"), 100_000)]
    name = modem.store.ensure("ca", ca)
    assert "did not confirm" in caplog.text
    modem.host.calls.clear()
    assert modem.store.ensure("ca", ca) == name
    assert modem.host.calls == []
    modem = Files()
    modem.fail = [(ModemTimeoutError("no answer"), 100)]
    with pytest.raises(ModemTimeoutError, match="credentials: the modem did not store the ca"):
        modem.store.ensure("ca", ca)
    assert modem.store.ensure("ca", ca) == name
    assert modem.files[name] == normalise("ca", ca)


def test_an_upload_that_the_callers_time_cut_is_made_again(ca):
    modem = Files()
    deadline = modem.host.time + 1

    def late(given):
        modem.host.time += 2
        modem.files[given["name"]] = given["data"]
        return ModemTimeoutError("the time ran out")

    modem.host.on["credential_write"] = [late, modem.write]
    with pytest.raises(ModemTimeoutError, match="credentials: "):
        modem.store.ensure("ca", ca, deadline=deadline)
    modem.store.ensure("ca", ca)
    assert modem.host.ops()[-4:] == ["credential_delete", "credential_space", "credential_write", "credential_list"]


def garbled(change, modem, failure=None):
    """An upload whose command is heard otherwise than it was said."""

    def write(given):
        modem.host.on["credential_write"] = modem.write
        return failure or modem.write(given | {"name": change(given["name"])})

    def lost(given):
        modem.files[change(given["name"])] = given["data"]
        modem.host.on["credential_write"] = modem.write
        return failure

    return lost if failure else write


@pytest.mark.parametrize(
    "change",
    [
        lambda name: name[:7] + name[8:],
        lambda name: name[1:],
        lambda name: name[:-3],
        lambda name: name[:9] + "_" + name[10:],
        lambda name: name[:9] + ("0" if name[9] != "0" else "1") + name[10:],
    ],
)
@pytest.mark.parametrize("failure", [None, refusal("mismatch"), ModemTimeoutError("no answer")])
def test_what_was_stored_under_a_garbled_name_is_found_removed_and_stored_again(material, change, failure):
    _, key = material.client_pem()
    modem = Files(**{"foreign.pem": 5, "mtls-ca": 5})
    foreign = set(modem.files)
    modem.host.on["credential_write"] = garbled(change, modem, failure)
    if isinstance(failure, ModemTimeoutError):
        with pytest.raises(ModemTimeoutError):
            modem.store.ensure("key", key)
        assert set(modem.files) == foreign
    name = modem.store.ensure("key", key)
    assert set(modem.files) == {name, *foreign}
    assert modem.files[name] == normalise("key", key)


def test_a_name_that_is_garbled_each_time_is_an_error_and_leaves_nothing(ca):
    modem = Files()
    modem.host.on["credential_write"] = lambda given: modem.write(given | {"name": given["name"][:-1]})
    with pytest.raises(CredentialError, match=r"listed no mtls-\w+ of that size.*garbled"):
        modem.store.ensure("ca", ca)
    assert (modem.uploads, modem.files) == (2, {})


def test_what_arrived_otherwise_than_it_was_sent_is_told_in_plain_words(ca):
    modem = Files()
    modem.fail = [(refusal("mismatch"), 10)] * 5
    with pytest.raises(CredentialError, match="what arrived in it is not what was sent"):
        modem.store.ensure("ca", ca)


def test_what_another_program_has_removed_is_stored_again_once_somebody_says_that_it_may_have(ca):
    modem = Files()
    name = modem.store.ensure("ca", ca)
    modem.again().purge()
    modem.store.ensure("ca", ca)
    assert modem.files == {}
    modem.store.look_again()
    assert modem.store.ensure("ca", ca) == name
    assert name in modem.files
    modem.store.ensure("ca", ca)
    assert modem.uploads == 2


def test_own_names_that_were_cut_on_the_line_are_listed_and_removed(ca):
    cut, short = "mtls-" + "0123456789abcdef012", "mtls-0123456789ab"
    modem = Files(**{cut: 5, short: 5, "mtls-0123456789a": 5, "mtls-0123456789ag": 5, "mtls-" + "0" * 21: 5})
    assert [one.name for one in modem.store.list()] == sorted([cut, short])
    assert modem.store.purge() == sorted([cut, short])
    assert len(modem.files) == 3


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), ModemRestartedError("restarted")])
def test_an_interrupted_upload_is_never_trusted_even_with_the_right_size(ca, interruption):
    modem = Files()
    modem.fail = [(interruption, 100_000)]  # all of it arrived, but nobody saw the checksum
    with pytest.raises(type(interruption)):
        modem.store.ensure("ca", ca)
    name = content_name(normalise("ca", ca))
    modem.files[name] = bytes(len(modem.files[name]))
    modem.host.epoch += 1
    assert modem.store.ensure("ca", ca) == name
    assert modem.files[name] == normalise("ca", ca)


def test_least_recently_used_of_its_own_gives_way(material):
    certs = [material.client_pem(str(n))[0] for n in range(4)]
    size = max(len(normalise("cert", cert)) for cert in certs)
    modem = Files(space=3 * size + 50 + 10, **{"foreign.pem": 50})
    names = [modem.store.ensure("cert", cert) for cert in certs[:3]]
    modem.store.ensure("cert", certs[0])
    names.append(modem.store.ensure("cert", certs[3]))
    assert set(modem.files) == {"foreign.pem", names[0], names[2], names[3]}


def test_space_that_only_the_upload_shows_is_made_too(material):
    certs = [material.client_pem(str(n))[0] for n in range(3)]
    modem = Files(space=2 * len(normalise("cert", certs[0])) + 20)
    del modem.host.on["credential_space"]
    names = [modem.store.ensure("cert", cert) for cert in certs]
    assert set(modem.files) == set(names[1:])


@pytest.mark.parametrize("limit", ["credentials", "credential_bytes"])
def test_room_is_made_before_a_limit_is_exceeded(material, limit):
    certs = [material.client_pem(str(n))[0] for n in range(3)]
    sizes = [len(normalise("cert", cert)) for cert in certs]
    limits = {limit: 3 if limit == "credentials" else 50 + sum(sizes) - min(sizes)}
    modem = Files(limits=limits, **{"foreign.pem": 50})
    del modem.host.on["credential_space"]
    names = [modem.store.ensure("cert", cert) for cert in certs]
    assert set(modem.files) == {"foreign.pem", names[1], names[2]}
    stored = ["credential_write", "credential_list"]
    assert modem.host.ops() == ["credential_list", *stored * 2, "credential_delete", *stored]


@pytest.mark.parametrize("limit", ["credentials", "credential_bytes"])
def test_what_a_limit_leaves_no_room_for_is_not_sent(ca, limit):
    size = len(normalise("ca", ca))
    most, there = (
        (2, "2 certificates and keys") if limit == "credentials" else (size + 150, "300 bytes of certif.*keys")
    )
    modem = Files(limits={limit: most}, **{"a.pem": 100, "b.pem": 200})
    with pytest.raises(
        CredentialError, match=f"no space in the modem: it has {there}, and takes {most},.*none"
    ) as caught:
        modem.store.ensure("ca", ca)
    assert caught.value.errno == errno.ENOSPC
    assert modem.uploads == 0
    del modem.files["b.pem"]  # by its owner
    assert modem.store.ensure("ca", ca) in modem.files


def test_what_is_larger_than_the_modem_takes_is_refused_before_anything_is_sent(ca, material):
    modem = Files(limits={"credential_size": 500})
    with pytest.raises(CredentialError, match=r"^CA certificate: \d+ bytes, and this modem takes 500$"):
        modem.store.ensure("ca", ca)
    assert modem.host.calls == []
    cert, key = material.client_pem("a")
    pems = {"cert": normalise("cert", cert), "key": normalise("key", key)}
    one, total = max(map(len, pems.values())), sum(map(len, pems.values()))
    large = "private key /k.pem" if len(pems["key"]) == one else "client certificate"
    for limits, says in [
        ({"credential_size": one - 1}, f"{large}: {one} bytes, and this modem takes {one - 1}"),
        (
            {"credential_bytes": total - 1},
            f"credentials: {total} bytes of certificates and keys, and this modem takes {total - 1} together",
        ),
        ({"credentials": 1}, "credentials: 2 certificates and keys, and this modem has room for 1"),
    ]:
        with pytest.raises(CredentialError) as caught:
            check_sizes(pems, {"key": "/k.pem"}, limits)
        assert caught.value.message == says
    check_sizes(pems, {}, {"credential_size": one, "credential_bytes": total, "credentials": 2})
    check_sizes({"ca": pems["cert"], "cert": pems["cert"]}, {}, {"credentials": 1})  # the same text is one file


def test_what_is_in_use_or_foreign_never_gives_way(material):
    one, two = (material.client_pem(str(n))[0] for n in range(2))
    modem = Files(space=len(normalise("cert", one)) + 60, **{"mtls-notours": 50})
    name = modem.store.ensure("cert", one)
    modem.used = frozenset({name})
    with pytest.raises(CredentialError, match="no space"):
        modem.store.ensure("cert", two)
    assert set(modem.files) == {name, "mtls-notours"}


def test_what_is_being_prepared_does_not_give_way(material):
    cert, key = material.client_pem("a")
    modem = Files(space=max(len(normalise("cert", cert)), len(normalise("key", key))) + 20)
    with modem.store.hold() as holding:
        name = holding.ensure("cert", cert)
        with pytest.raises(CredentialError, match="no space"):
            holding.ensure("key", key)
    assert set(modem.files) == {name}
    assert modem.store.ensure("key", key) in modem.files  # no longer held


def test_list_remove_and_purge_touch_only_the_drivers_own(ca, material):
    modem = Files(**{"foreign.pem": 5, "mtls-0123": 5, "MTLS-" + "0" * 20: 5})
    foreign = dict(modem.files)
    name = modem.store.ensure("ca", ca)
    other = modem.store.ensure("cert", material.client_pem("x")[0])
    modem.used = frozenset({name})
    assert [(c.name, c.size, c.in_use) for c in modem.store.list()] == sorted(
        [(name, len(modem.files[name]), True), (other, len(modem.files[other]), False)]
    )
    for refused in (*foreign, "*", name + '"', name + "\n"):
        with pytest.raises(CredentialError, match="left alone"):
            modem.store.remove(refused)
    with pytest.raises(CredentialError, match="in use"):
        modem.store.remove(name)
    assert modem.store.purge() == [other]
    modem.used = frozenset()
    assert modem.store.remove(name) is True
    assert modem.store.remove(name) is False
    assert modem.files == foreign


def test_a_modem_without_a_store_says_so(ca):
    modem = Files()
    del modem.host.on["credential_write"]
    with pytest.raises(NotSupportedError):
        modem.store.ensure("ca", ca)


def test_a_list_without_sizes_vouches_only_for_what_this_process_stored(material):
    modem = Files()
    modem.host.on["credential_list"] = lambda _: Answer(rows=[{"name": name} for name in modem.files])
    name = modem.store.ensure("ca", material.ca_pem())
    assert name in [one.name for one in modem.store.list()]
    modem.store.ensure("ca", material.ca_pem())
    assert modem.uploads == 1
    assert modem.again().ensure("ca", material.ca_pem()) == name
    assert modem.uploads == 2  # whole or half, nobody says
