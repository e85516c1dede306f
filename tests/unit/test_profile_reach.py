"""What a profile says that it protects with has to decide something that is sent."""

# ruff: noqa: E501 - one case a line

from __future__ import annotations

import pytest

from modemtls.errors import NotSupportedError
from modemtls.profile import bundled, check, load
from modemtls.profile.reach import unsent
from tests.support.scripted import OK, scripted

SET = "  tls_configure:\n    see: {manual: x}\n    steps:\n"
LINES = {
    "version": "      - send: 'AT+V={context},{version}'\n",
    "suites": "      - each: suite\n        in: suites\n        do:\n          - send: 'AT+S={context},{suite}'\n",
    "ca": "      - send: 'AT+CA={context},{ca:quoted?}'\n",
    "cert": "      - send: 'AT+CE={context},{cert:quoted?},{key:quoted?}'\n",
    "verify": "      - send: 'AT+L={context},{verify@off_on}'\n",
    "dates": "      - send: 'AT+D={context},{check_dates@off_on}'\n",
    "time": "      - set: {negotiate: '{handshake_timeout}'}\n        scope: context\n      - send: 'AT+T={context},{negotiate}'\n",
    "sni": "      - send: 'AT+N={context},{sni@off_on}'\n",
    "name": "      - send: 'AT+H={context},{check_hostname@off_on}'\n",
}


@pytest.fixture
def told(tmp_path):
    def ask(rest: str) -> list[str]:
        path = tmp_path / "liar.yaml"
        path.write_text(f"profile: 1\nname: liar\nextends: quectel-bg95\n{rest}")
        return [str(one) for one in check([path])]

    return ask


def configures(capabilities: str = "capabilities: {hostname_check: true, sni: true}\n", **lines: str) -> str:
    return f"{capabilities}programs:\n{SET}" + "".join((LINES | lines).values())


@pytest.mark.parametrize("name", bundled())
def test_the_bundled_profiles_keep_what_they_promise(name):
    assert list(unsent(load(name))) == []


def test_a_plain_profile_is_right(told):
    assert told(configures()) == []


@pytest.mark.parametrize(
    ("rest", "where", "what"),
    [
        ("capabilities: {hostname_check: true}\n", "4:16", "{check_hostname}"),
        ("capabilities: {sni: true}\n", "4:16", "{sni}"),
        ("tables: {dates: {false: 1, true: 1}}\n", "", "{check_dates}"),
        ("tables: {off_on: {false: 0, true: 0}}\n", "", "{check_hostname}"),
        ("programs:\n  tls_level:\n    - set: {level: 0, negotiate: 300}\n    - when: {handshake_timeout: {given: true}}\n      set: {negotiate: '{handshake_timeout}'}\n", "", "{verify}"),
        ("programs:\n  tls_level:\n    - set: {level: 1, negotiate: '{handshake_timeout}'}\n    - when: {verify: true}\n      set: {level: 1}\n", "", "{verify}"),
        (configures(verify=LINES["verify"].replace("\n", "\n        tolerate: true\n")), "", "{verify}"),
        (configures(verify=LINES["verify"].replace("\n", "\n        tolerate: {outcome: fail}\n")), "", "{verify}"),
        (configures(version=LINES["version"] + "      - when: {verify: true}\n        return: ok\n", ca=LINES["ca"]), "", "{check_dates}"),
        (configures(ca=""), "", "{ca}"),
        (configures(ca=LINES["ca"].replace("- send", "- when: {client_auth: true}\n        send")), "", "{ca}"),
        (configures(name=LINES["name"].replace("- send", "- when: {odd: true}\n        send") + "      - set: {odd: true}\n        scope: boot\n"), "4:16", "{check_hostname}"),
        (configures(verify="      - set: {on: '{verify@off_on}'}\n      - set: {on: 0}\n      - send: 'AT+L={on:number}'\n"), "", "{verify}"),
        (configures(verify="      - first:\n          - send: 'AT+L={verify@off_on}'\n          - send: 'AT+OLD=1'\n"), "", "{verify}"),
    ],
)  # fmt: skip
def test_what_decides_nothing_is_told(told, rest, where, what):
    problems = told(rest)
    assert any(f"depends on {what}" in one and f".yaml:{where}" in one for one in problems), problems


@pytest.mark.parametrize(
    "rest",
    [
        # Only where a firmware has it, and only there is it promised.
        configures("capabilities: {hostname_check: {value: true, when: {odd: true}}, sni: true}\n",
                   name=LINES["name"].replace("- send", "- when: {odd: true}\n        send") + "      - set: {odd: true}\n        scope: boot\n"),
        # Sent or not sent is a decision, too; and so is failing.
        configures(verify="      - when: {verify: true}\n        send: 'AT+L=1'\n"),
        configures(verify="      - when: {verify: false}\n        fail: not_supported\n      - send: 'AT+L=1'\n"),
        # Through a helper, a value, and what is kept until the connection is opened.
        configures(verify="      - set: {on: '{verify@off_on}'}\n        scope: context\n") + "  tls_open:\n    - send: 'AT+O={socket},{host:host},{port},{on:token?}'\n      see: {manual: x}\n",
        configures(verify="      - first:\n          - send: 'AT+L={verify@off_on}'\n          - send: 'AT+OLD={verify@off_on}'\n"),
    ],
)  # fmt: skip
def test_what_decides_something_is_not(told, rest):
    assert [one for one in told(rest) if "depends on" in one] == []


SCRIPT = f"""
capabilities: {{}}
tables: {{off_on: {{false: 0, true: 1}}}}
programs:
  probe:
    - send: 'AT+F?'
      see: {{manual: x}}
      lines: [{{match: '+F: {{odd:int}}', repeat: optional}}]
      save: {{boot: [odd]}}
{SET}{LINES["ca"]}
      - when: {{odd: {{not: 1}}}}
        send: 'AT+L={{context}},{{verify@off_on}}'
"""
SETTINGS = {
    "context": 1, "version": 3, "suites": (), "ca": "ca", "verify": True, "client_auth": False, "sni": False,
    "check_hostname": False, "check_dates": False, "handshake_timeout": 60,
    "dtls": False, "resume": False, "cid": False,
}  # fmt: skip


def test_what_this_firmware_makes_of_it_is_looked_at_before_anything_is_sent():
    answers = {b"AT+F?": [b"\r\n+F: 0\r\n" + OK, b"\r\n+F: 1\r\n" + OK], b'AT+CA=1,"ca"': OK, b"AT+L=1,1": OK}
    with scripted(SCRIPT, answers) as (runner, modem):
        runner.run("probe")
        runner.run("tls_configure", SETTINGS)
        runner.run("probe")
        sent = len(modem.sent)
        with pytest.raises(NotSupportedError, match=r"^verify: nothing that .* depends on it"):
            runner.run("tls_configure", SETTINGS)
        assert len(modem.sent) == sent
        runner.run("tls_configure", SETTINGS | {"verify": False})
