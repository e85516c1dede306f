"""Every peer with every feature through every modem: one real connection each, or the refusal of what is lacking."""

from __future__ import annotations

import pytest

from modemtls.errors import NotSupportedError, TruncatedError
from modemtls.net import Certificates, Option, Psk, SslConfiguration, TlsVersion, create_dtls_socket, create_ssl_socket
from tests.peers import table
from tests.peers.conftest import WRITING
from tests.peers.families import BY_NAME as FAMILY
from tests.peers.features import BY_NAME as FEATURE
from tests.peers.features import Feature, lacking
from tests.peers.programs import BY_LETTER, IDENTITY, KEY, PERSON, Told
from tests.support.subjects import NAME
from tests.support.tls_ends import need_mbedtls

#: A server that gives tickets and keeps no session, and modems that take no tickets (u-blox SARA-R4 / SARA-R5 Internet
#: applications development guide, UBX-20032566, 3.4).
TICKETS_ONLY = {("M", "tls1.2-resumed", "sara-r5"), ("M", "tls1.2-resumed", "sara-r422s")}

#: Servers whose handshake with certificates is of larger datagrams than some modem gives, whatever is asked of them.
LARGE = {
    (letter, feature, "host-slm")
    for letter in ("O", "L")
    for feature in ("dtls1.2-certificate", "dtls1.2-mutual", "dtls1.2-resumed")
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "cell" in metafunc.fixturenames:
        names = [f"{family}-{feature}-{BY_LETTER[letter].name}" for feature, family, letter in table.cells()]
        metafunc.parametrize("cell", table.cells(), ids=names)


@pytest.fixture
def family(cell):
    return FAMILY[cell[1]]


@pytest.fixture
def socket_for(family, modem, pki, person):
    """A closed secure socket with what the feature needs, and what the modem can do for it."""
    made = []

    def make(feature: Feature, buffer: bytearray | None = None):
        able = modem.capabilities
        host = family.engine == "host"
        if feature.kind == "psk":
            security = Psk(IDENTITY, KEY)
        else:
            own = {"client_cert": person.cert, "client_key": person.key} if feature.kind == "mutual" else {}
            checks = {"check_hostname": host or bool(able["hostname_check"]), "check_dates": host or able["date_check"]}
            security = Certificates(trusted=pki.ca, **own, **{name: bool(on) for name, on in checks.items()})
        configuration = SslConfiguration(
            security=security,
            version=feature.version,
            max_version=feature.version,
            session_resumption_buffer=buffer,
            use_connection_id=feature.cid,
        )
        create = create_dtls_socket if feature.datagram else create_ssl_socket
        made.append(create(modem, configuration, engine=family.engine))
        return made[-1]

    yield make
    for sock in made:
        sock.cleanup()


@pytest.mark.server
def test_cell(cell, family, modem, socket_for, serving, finding):
    feature, peer = FEATURE[cell[0]], BY_LETTER[cell[2]]
    lacks = lacking(feature, modem.capabilities, host=family.engine == "host")
    buffer = bytearray(4096) if feature.resumed else None
    if lacks:
        with pytest.raises(NotSupportedError) as refused:
            socket_for(feature, buffer)
        assert refused.value.capability in lacks
        finding(cell, lacks[0])
        return
    if family.name == "host-slm" and feature.datagram and feature.kind != "psk":
        need_mbedtls()  # which alone can ask for small records
    reported = family.engine == "host" or modem.capabilities["resumption"] == "reported"
    service = serving(peer, feature)
    sock = socket_for(feature, buffer)
    port = str(next(service.ports))
    if (peer.letter, feature.name, family.name) in LARGE:
        with pytest.raises(TruncatedError, match=r"handshake .* larger datagram"):
            sock.connect(NAME, port, timeout=2)
        finding(cell, table.LARGE)
        return
    for again in (False, True) if feature.resumed else (False,):
        sock.connect(NAME, port, timeout=20)
        assert sock.engine == family.engine
        told = service.talk(sock, feature)
        resumed = again and (peer.letter, feature.name, family.name) not in TICKETS_ONLY
        assert told == expected(feature, told, resumed=resumed)
        assert sock.get_opt(Option.SESSION_RESUMED) is (resumed and reported)
        sock.close()
    if feature.resumed and not resumed:
        finding(cell, table.TICKETS)
    elif feature.resumed and told.resumed is None and not reported:
        finding(cell, table.UNTOLD)
    else:
        finding(cell, table.PASSED)


def expected(feature: Feature, told: Told, *, resumed: bool) -> Told:
    """What a server has to tell, of that which it does tell."""
    version = "DTLSv1.2" if feature.datagram else f"TLSv{feature.version.value}"
    everything = {
        "version": version,
        "client": "" if feature.kind == "certificate" else PERSON,
        "resumed": resumed,
        "cid": feature.cid,
    }
    return Told(**{name: value for name, value in everything.items() if getattr(told, name) is not None})


def test_the_table_is_of_the_peers_features_and_families_that_there_are():
    if WRITING:
        pytest.skip("it is being written")
    told = table.parse(table.section())
    assert table.render(told) == table.section()
    assert [cell for cell in table.cells() if cell not in told] == []


def test_a_table_says_what_it_was_made_of():
    whats = [table.PASSED, *table.NOTES]
    found = {cell: whats[index % len(whats)] for index, cell in enumerate(table.cells())}
    # A lack is the modem's, and its name may have a point.
    lacking = {cell: "tls1.3" for cell in found if cell[0] == "tls1.3-psk" and cell[1] == "bg95"}
    found |= lacking
    assert lacking
    assert table.parse(table.render(found)) == found
    assert TlsVersion.TLS1_3.value in table.render(found)
