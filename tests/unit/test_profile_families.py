"""What a profile with sockets of its own, bundles, sessions and more lacks is told: the decision's two families, spoilt."""

# ruff: noqa: E501 - one mistake a line

from __future__ import annotations

import pytest

from modemtls.errors import NotSupportedError
from modemtls.profile import check_text
from tests.unit.test_profile_flows import SNIPPETS, whole

LIVES = {one.splitlines()[0].removeprefix("# life: "): whole(one) for one in SNIPPETS if one.startswith("# life: ")}
NORDIC, UBLOX = LIVES["Nordic Serial Modem"], LIVES["u-blox SARA-R5"]


def told(text: str) -> list[str]:
    return [one.message for one in check_text(text, "p.yaml")[1]]


def test_both_are_right():
    assert told(NORDIC) == told(UBLOX) == []


# (family, what to take, what to put there, the complaint)
MISTAKES = [
    (NORDIC, "{bundle:number?}", "1", "capability psk: nothing that dtls_open sends, and the modem may not refuse, depends on {psk}"),
    (NORDIC, "      - when: {bundle: {given: false}}\n        fail: parameter\n        text: a secure socket needs something in the credential store\n      - use: address_family\n      - send: 'AT#XSSOCKET={inet},{transport},0,{bundle:number?},", "      - use: address_family\n      - send: 'AT#XSSOCKET={inet},{transport},0,1,", "capability credentials needs {bundle} in program dtls_open"),
    (NORDIC, "credential_digest: sha256", "credential_digest: none", "capability credentials needs a credential_list with kind and digest, and credential_digest: sha256, where the store is tagged"),
    (NORDIC, "{kind:int},{digest:quoted}'", "{kind:int},{sum:quoted}'", "capability credentials needs a credential_list with kind and digest, and credential_digest: sha256, where the store is tagged"),
    (NORDIC, "  credential_tags: {from: 1000000000, to: 1999999999}\n", "", "capability credentials needs limit credential_tags"),
    (NORDIC, "{from: 1000000000,", "{from: 2000000000,", "an empty range"),
    (NORDIC, "  radio_off:", "  other:", "capability credentials needs program radio_off"),
    (NORDIC, "      - when: {purge: true}\n        send: 'AT#XSSOCKETOPT={socket},1,13,1'\n", "", "capability resumption needs {purge} in program dtls_open"),
    (NORDIC, "  session_store: modem\n", "", "capability resumption needs capability session_store"),
    (NORDIC, "  session_store: modem\n", "  session_store: host\n", "capability session_store needs TLS contexts where the host keeps sessions"),
    (NORDIC, "  resumption: unreported\n", "", "capability session_store needs capability resumption"),
    (NORDIC, "resumption: unreported", "resumption: reported", "capability resumption needs tls_open to give resumed, where it is reported"),
    (NORDIC, "{cid@connection_id}", "1", "capability cid needs {cid} in program dtls_open"),
    (NORDIC, "  cid_status:", "  other:", "capability cid needs program cid_status"),
    (NORDIC, "map: {cid: cid}", "map: {cid: connection_id}", "cid_status: cid may become True"),
    (NORDIC, "  saved_connections: 4\n", "", "capability saved_connections needs limit saved_connections"),
    (NORDIC, "  connection_load:", "  other:", "capability saved_connections needs program connection_load"),
    (NORDIC, "  dtls_timeouts: [1, 3, 7, 15, 31, 63, 123]\n", "", "capability handshake_timers needs limit dtls_timeouts"),
    (NORDIC, "handshake_timers: total", "handshake_timers: range", "capability handshake_timers needs {dtls_timeout_min} in program dtls_open"),
    (NORDIC, "  address_family:\n    - set: {inet: 1}\n    - when: {family: ipv6}\n      set: {inet: 2}\n", "  address_family:\n    - set: {inet: 1}\n", "capability address_family needs {family} in program udp_open"),
    (NORDIC, "  bind:\n    - when: {local_port: {given: true}}\n      send: 'AT#XBIND={socket},{local_port}'", "  bind:\n    - send: 'AT#XBIND={socket},0'", "capability local_port needs {local_port} in program tcp_open"),
    (NORDIC, "  local_port: true\n", "  local_port: [tcp, dtsl]\n", "unknown word dtsl"),
    (NORDIC, "  sni: true\n", "  sni: [tls, tcp]\n", "unknown word tcp"),
    (NORDIC, "  sni: true\n", "  sni: []\n", "families of sockets: at least 1 expected"),
    (NORDIC, "  udp: true\n", "  udp: [udp]\n", "true or false expected, not a list"),
    (NORDIC, "  tcp_accept:", "  other:", "capability listen needs program tcp_accept"),
    (NORDIC, "#XACCEPT: {socket:int},", "#XACCEPT: {handle:int},", "tcp_accept gives no socket"),
    (NORDIC, "  udp_receivefrom:", "  other:", "capability udp_unconnected needs program udp_receivefrom"),
    (NORDIC, "        lines: ['#XSSOCKET: {socket:int},{opened:int},{protocol:int}']\n", "        lines: ['#XSSOCKET: {handle:int},{opened:int},{protocol:int}']\n", "tls_open gives no socket"),
    (NORDIC, "  dtls_versions:\n    - {token: 273, versions: ['1.2']}\n", "", "capability dtls needs table dtls_versions"),
    (NORDIC, "dtls: ['1.2']", "dtls: ['1.0', '1.2']", "capability dtls needs a token for 1.0 in table dtls_versions"),
    (NORDIC, "{token: 273, versions: ['1.2']}", "{token: 273, versions: ['1.1']}", "'1.1' is not a DTLS version ('1.0' or '1.2')"),
    (NORDIC, "  tls_contexts: none\n", "", "capability tls needs program tls_configure"),
    (NORDIC, "server_name: together", "server_name: separate", "capability sni: nothing that tls_open sends, and the modem may not refuse, depends on {sni}"),
    (NORDIC, "{verify@peer_verify}", "2", "nothing that dtls_open sends, and the modem may not refuse, depends on {verify}"),
    (NORDIC, "{expected_name:host?}", "NULL", "capability hostname_check: nothing that tls_open sends, and the modem may not refuse, depends on {check_hostname}"),
    (UBLOX, "  session_purge:", "  other:", "capability resumption needs program session_purge"),
    (UBLOX, "  session_restore:", "  other:", "capability session_store needs program session_restore"),
    (UBLOX, "  session_kind: {match: '+UUSECPRF: {context:int},13,1,{session_type:int}', means: session}\n  session: {match: '+UUSECPRF: {context:int},13,2,{session_id:any},{master:any}', means: session, secret: [session_id, master]}\n", "", "capability session_store needs a URC that means session"),
    (UBLOX, "'AT+USECPRF={context},13,2,{session_id:quoted},{master:quoted}'", "'AT+USECPRF={context},13,2,{session_id:quoted},{key:quoted}'", "unknown name key"),
    (UBLOX, "'+UUSECPRF: {context:int},13,1,{session_type:int}'", "'+UUSECPRF: 0,13,1,{session_type:int}'", "a URC that means session captures context"),
    (UBLOX, "{peer:quoted},2", '"x",2', "capability pinning: nothing that tls_configure and dtls_open send, and the modem may not refuse, depends on {peer}"),
    (UBLOX, "      - when: {peer: {given: true}}\n        send: 'AT+USECPRF={context},12,{peer:quoted},2'\n", "", "capability pinning needs {peer} in program tls_configure"),
    (UBLOX, "{psk_key:hex}", "00", "capability psk: nothing that tls_configure and tls_open send, and the modem may not refuse, depends on {psk_key}"),
    (UBLOX, "{psk_identity:hex?}", "00", "capability psk needs {psk_identity} and {psk_key} in program tls_configure"),
    (UBLOX, "  credential_digest:\n    - send", "  other:\n    - send", "capability credentials needs program credential_digest"),
    (UBLOX, "'+UUSOLI: {socket:int},", "'+UUSOLI: {number:int},", "a URC that means accepted captures socket"),
    (UBLOX, "means: accepted, family: tcp", "means: accepted, family: tls", "capability listen needs program tcp_accept"),
    (UBLOX, "  dtls_receive:\n    - use: receive\n", "", "capability dtls needs program dtls_receive"),
    (UBLOX, "  udp_send:\n    - use: send\n", "", "capability udp needs program udp_send"),
    (UBLOX, "  contexts: {from: 0, to: 4}\n", "", "capability dtls needs limit contexts"),
    (UBLOX, "      - send: 'AT+USECPRF={context},1,{version}'\n", "", None),  # there is one version, which need not be told
    (UBLOX, "{psk_identity:hex?}", "{psk_identity|txt:quoted?}", "unknown codec txt"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "taken", "put", "complaint"), MISTAKES, ids=[f"{one[3] or 'none'}-{n}" for n, one in enumerate(MISTAKES)]
)
def test_what_is_missing_is_told(text, taken, put, complaint):
    assert taken in text
    found = told(text.replace(taken, put))
    assert (found == []) if complaint is None else any(one.startswith(complaint) for one in found), found


BOUND = "    - when: {local_port: {given: true}}\n      send: 'AT#XBIND={socket},{local_port}'"


@pytest.mark.parametrize("some", [["udp"], ["tcp", "udp"], ["dtls"]])
def test_a_capability_of_some_sockets_needs_the_programs_of_these_only(some):
    fewer = NORDIC.replace("  local_port: true\n", f"  local_port: [{', '.join(some)}]\n")
    assert told(fewer) == []
    spoilt = told(fewer.replace(BOUND, "    - send: 'AT#XBIND={socket},0'"))
    assert {one for one in spoilt if "local_port" in one} == {
        f"capability local_port needs {{local_port}} in program {one}_open" for one in some
    }


@pytest.mark.parametrize(("some", "complaints"), [("[dtls]", ["dtls"]), ("[tls]", ["tls"]), ("true", ["dtls", "tls"])])
def test_a_protection_of_some_sockets_has_to_decide_something_for_these_only(some, complaints):
    spoilt = NORDIC.replace("server_name: together", "server_name: separate").replace(
        "  sni: true\n", f"  sni: {some}\n"
    )
    found = [one for one in told(spoilt) if one.startswith("capability sni")]
    assert sorted(found) == [
        f"capability sni: nothing that {one}_open sends, and the modem may not refuse, depends on {{sni}}"
        for one in complaints
    ]


def test_what_a_modem_has_for_some_sockets_it_lacks_for_others():
    profile, _ = check_text(NORDIC.replace("  local_port: true\n", "  local_port: [tcp]\n"))
    assert profile.able("local_port") == ("tcp",)
    assert [profile.able("local_port", family=one) for one in ("tcp", "udp", "tls")] == [True, False, False]
    assert profile.able("sni", family="dtls") is True
    assert profile.able("psk", family="dtls") == "stored"
    with pytest.raises(NotSupportedError, match=r"local_port .* for UDP sockets"):
        profile.require("local_port", family="udp")
    with pytest.raises(NotSupportedError, match=r"alpn \([a-z ]*\);"):
        profile.require("alpn", family="udp")


def test_of_two_versions_the_modem_is_told_which():
    two = UBLOX.replace(
        "    - {token: 3, versions: ['1.2']}\n  suites",
        "    - {token: 3, versions: ['1.2']}\n    - {token: 2, versions: ['1.0']}\n  suites",
    )
    assert told(two) == []
    silent = two.replace("      - send: 'AT+USECPRF={context},1,{version}'\n", "")
    assert told(silent) == ["capability dtls needs {version} in program tls_configure"]
