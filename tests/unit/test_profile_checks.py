"""Each mistake that a profile can contain is told, with its place and what to write instead."""

# ruff: noqa: E501 - one mistake a line

from __future__ import annotations

import re

import pytest

from modemtls.profile import check_text
from tests.unit.test_profile_flows import SNIPPETS

EXAMPLE = next(one for one in SNIPPETS if "name: xy95\n" in one)


def told(text: str) -> list[str]:
    return [str(one) for one in check_text(text, "p.yaml")[1]]


def place(text: str, part: str) -> str:
    """Return line:column of a part of the text (of what stands behind the first | in it)."""
    before, _, wanted = part.partition("|")
    offset = text.index(before + wanted) + len(before)
    line = text.count("\n", 0, offset) + 1
    return f"p.yaml:{line}:{offset - text.rfind(chr(10), 0, offset)}"


def test_the_example_is_correct():
    assert told(EXAMPLE) == []


# (what to change, into what, where the complaint points (in the changed text; | marks the column), the complaint)
MISTAKES = [
    # keys, types, words
    ("capabilities:", "capabilites:", "|capabilites:", "unknown key capabilites in a profile (did you mean capabilities?)"),
    ("  terminator: CR", "  terminatr: CR", "|terminatr", "unknown key terminatr in line (did you mean terminator?)"),
    ("timeout: 65", "timeout: true", "      timeout: |true", "a duration or {base, plus} expected, not true or false"),
    ("timeout: 65", "timeout: 65 m", "timeout: |65 m", "a duration expected: seconds, or text like 300ms or 1.5s"),
    ("vendor: Example", "vendor: 5", "vendor: |5", "text expected, not a number (quote it: '5')"),
    ("vendor: Example", "vendor: true", "vendor: |true", "text expected, not true or false (quote it: 'true')"),
    ("  tcp: true", "  tcp: 1", "  tcp: |1", "true or false expected, not a number"),
    ("  tcp: true", "  tcp: null", "  tcp: |null", "a value or {value, when, see} expected, not null (null only removes what is inherited)"),
    ("models: [XY95, XY95-M]", "models: XY95", "models: |XY95", "a list expected, not text"),
    ("terminator: CR", "terminator: CL", "terminator: |CL", "unknown word CL (known: CR, CRLF)"),
    ("means: boot", "means: reboot", "means: |reboot", "unknown word reboot (did you mean boot?)"),
    ("  pdp_active: 3", "  pdp_active: 0", "pdp_active: |0", "0 is out of range: a number from 1 is expected"),
    ("profile: 1", "profile: 2", "profile: |2", "unknown word 2 (known: 1)"),
    ("name: xy95", "name: XY 95", "name: |XY 95", "'XY 95' is not a profile's name (small letters, digits, -)"),
    ("tls: ['1.0', '1.1', '1.2']", "tls: ['1.4']", "tls: [|'1.4'", "'1.4' is not a TLS version ('1.0' to '1.3')"),
    ("tls: ['1.0', '1.1', '1.2']", "tls: [1.2]", "tls: [|1.2", "1.2 means different things to YAML readers"),
    ("0xC02F: '0XC02F'", "C02F: '0XC02F'", "|C02F: '0XC02F'", "'C02F' is not an IANA number like 0xC02F"),
    ("boot, see: {manual: 'XY", "boot, see: {manua: 'XY", "{|manua:", "unknown key manua as evidence (did you mean manual?)"),
    ("kind: memory", "kind: memry", "kind: |memry", "unknown word memry (did you mean memory?)"),
    ("    - send: 'AT+XIRD", "    - sent: 'AT+XIRD", "- |sent:", "not a step: none of its keys says what it does (did you mean se"),
    ("      blocking: true\n      tolerate", "      awaits: x\n      tolerate", "|awaits: x", "unknown key awaits in a step of kind send"),
    ("    when: {model: 'XY95-M*'", "    wen: {model: 'XY95-M*'", "|wen:", "unknown key wen in a variant (did you mean when?)"),
    # placeholders and kinds
    ("AT+XIRD={socket},", "AT+XIRD={sockt},", "|'AT+XIRD", "unknown name sockt (did you mean socket?)"),
    ("{pdp},{server:host}", "{pdp},{server}", "|'AT+XNTP", "server needs a quoting kind (for host: quoted, host, bare)"),
    ("{server:host},{port}", "{server:number},{port}", "|'AT+XNTP", "kind number does not fit server, which is host (kinds for host: quoted, host, bare)"),
    ("'AT+CPIN={pin:quoted}'", "'AT+CPIN={pin:host}'", "|'AT+CPIN={", "kind host does not fit pin, which is digits"),
    ("{context},{sni@off_on}", "{context},{sni:number}", "|'AT+XSSLCFG=\"sni\",{", "kind number does not fit sni, which is bool (bool goes through a table)"),
    ("{context},{sni@off_on}", "{context},{sni}", "|'AT+XSSLCFG=\"sni\",{", "sni needs a table: {sni@TABLE}"),
    ("{context},{sni@off_on}", "{context},{sni@offon}", "|'AT+XSSLCFG=\"sni\",{", "no table offon (did you mean off_on?)"),
    ("{ca:quoted?}", "{ca:quoted}", "|'AT+XSSLCFG=\"ca\",{context},{", "ca may be missing here (write ? behind its kind, or when: {ca: {given: true}})"),
    ("{name:quoted},{size},60", "{name:qoted},{size},60", "|'AT+XFUPL", "unknown kind qoted"),
    ("{data|xor16}", "{data|xor17}", "|'{data|xor17", "unknown codec xor17"),
    ("{data|xor16}", "{name|xor16}", "|'{name|xor16", "name: codec xor16 does not take text"),
    ("{data|xor16}", "{data|xor16:number}", "|'{data|xor16:", "data: a value has no quoting kind"),
    ("'{data|xor16}'", "'x{data}'", "|'x{data}", "a value is a constant or exactly one placeholder"),
    ("'AT+XIDEACT={pdp}'", '"AT+XIDEACT={pdp}\\r"', '|"AT+XIDEACT', "'\\r' cannot stand in a command line"),
    ("'AT+XIDEACT={pdp}'", "'XIDEACT={pdp}'", "|'XIDEACT", "a command line starts with AT"),
    ("'AT+XIDEACT={pdp}'", "'AT+XIDEACT={pdp'", "|'AT+XIDEACT", "a brace that belongs to no placeholder"),
    ("      payload: data\n      timeout: 65", "      payload: size\n      timeout: 65", "payload: |size", "size is int, not bytes"),
    ("'AT+CCLK={clock:quoted}'", "'AT+CCLK=\"{clock:quoted}\"'", "|'AT+CCLK=\"", "kind quoted writes quotes, and clock stands in quotes already ({clock:quoted} without quotes around it)"),
    ("{pdp},{server:host},", '{pdp},"{server:host}",', "|'AT+XNTP", "kind host writes quotes, and server stands in quotes already ({server:host} without quotes around it)"),
    # patterns
    ("['+XERROR: {code:int},{reason:text}']", "['+XERROR: {code:itn},{reason:text}']", "|'+XERROR", "unknown type itn"),
    ("['+XERROR: {code:int},{reason:text}']", "['+XERROR: {code},{reason:text}']", "|'+XERROR", "unknown name code (to capture it write {code:int} or another type)"),
    ("'+XIRD: {length:int}\\r\\n{data:raw(length)}'", "'+XIRD: {length:int}\\r\\n{data:raw(len)}'", "|'+XIRD", "raw(len): no int field len is captured before it"),
    ("match: '+XTCP: \"recv\",{socket:int}', ", "match: '+XTCP: \"recv\",{socket}', ", "|'+XTCP: \"recv\",{socket}', ", "{socket} has no type (write {socket:int} or another type)"),
    ("map: {stat: registration}}\n          - match: '+CREG", "map: {sta: registration}}\n          - match: '+CREG", "|sta:", "the pattern captures no sta"),
    ("map: {family: pdp_family}", "map: {family: pdpfamily}", "family: |pdpfamily", "no table pdpfamily (did you mean pdp_family?)"),
    ("secret: [password]", "secret: [pass]", "[|pass]", "the pattern captures no pass (did you mean password?)"),
    # patterns that shadow each other
    ("  off: {match", "  all: {match: '+XTCP: {rest:text}', means: noise}\n  last: {match: '+XTCP: \"full\"', means: noise}\n  off: {match", "last: {match: |'+XTCP", "never matches: all (line "),
    ("  off: {match", "  sim2: {match: '+CPIN: NOT READY', means: sim}\n  off: {match", "sim2: {match: |'", "never matches: sim (line "),
    ("lines: ['{imei:digits}']", "lines: ['{imei:digits}', '{imei:digits}']", "', |'{imei", "never matches: line "),
    ("lines: [{match: '+XISTATE: {socket:int}{rest:more}', repeat: many}]", "lines: [{match: '+XISTATE: {socket:int}{rest:more}', repeat: many}, '+XISTATE: {other:int},{state:int}']", ", |'+XISTATE: {other", "never matches: line "),
    # steps
    ("      tolerate: {outcome: fail}\n\n  probe:", "    - return: ok\n    - send: 'AT'\n      see: {manual: x}\n\n  probe:", "- |send: 'AT'\n", "unreachable: the step before it always ends the program (return)"),
    ("      tolerate: {outcome: fail}\n\n  probe:", "    - first: [{set: {a: 1}}, {return: ok}]\n\n  probe:", "1}}, |{return", "unreachable: the alternative before it cannot fail"),
    ("    - use: level\n      - send: 'AT+XSSLCFG=\"level\",{context},", "    - use: levl\n      - send: 'AT+XSSLCFG=\"level\",{context},", "use: |levl", "no program levl (did you mean level?)"),
    ("  level:\n    - set: {wanted_level: 0}", "  level:\n    - use: level\n    - set: {wanted_level: 0}", "use: |level\n    - set", "level uses itself: tls_configure → level → level"),
    ("  restart:", "  helper:\n    - return: ok\n  restart:", "|helper:", "helper is no operation and nothing uses it"),
    ("  restart:", "  tls_conect:\n    - return: ok\n  restart:", "|tls_conect:", "tls_conect is no operation and nothing uses it (did you mean tls_"),
    ("      see: {manual: 'XY95 TCP manual 1.1, 2.1.8'}\n", "", "|'AT+XIRD", "a command without evidence (add see: {manual: 'title, version, section'})"),
    ("      - send: 'AT+XNTP", "      - pause: 250ms\n      - send: 'AT+XNTP", "- |pause", "a pause needs its source (add see: {manual: …})"),
    ("      prompt: {line: CONNECT}\n", "", "|payload: data\n      timeout: 65", "a payload needs the prompt that invites it"),
    ("save: {context: [handshake_timeout]}", "save: {context: [handshake]}", "[|handshake]", "nothing gives handshake a value (did you mean handshake_timeout?)"),
    ("save: {boot: [sni_key,", "save: {socket: [sni_key,", "socket: [|sni_key", "no socket here to save sni_key for"),
    ("save: {boot: [sni_key,", "save: {flash: [sni_key,", "|flash:", "'flash' is not a scope (socket, context, boot)"),
    ("- {if: {clock: ''}, is: empty}", "- {if: {clok: ''}, is: empty}", "|clok:", "unknown name clok (did you mean clock?)"),
    ("- {if: {length: 0}, is: empty}\n\n  tls_close", "- {if: {length: none}, is: empty}\n\n  tls_close", "length: |none", "length is a number and never 'none'"),
    ("- when: {verify: true}", "- when: {verify: 1}", "verify: |1", "verify is bool and never 1"),
    ("- {if: {length: 0}, is: empty}\n\n  tls_close", "- {if: {}, is: empty}\n\n  tls_close", "if: |{}", "an empty condition"),
    ("\n  tls_close:", "\n  tls_closee:", "|tls_closee:", "tls_closee is no operation and nothing uses it (did you mean tls_close?)"),
    ("    - send: 'AT+CSQ'\n", "    - send: 'AT+CSQ'\n      pause: 1\n", "|pause: 1\n", "a step is of one kind, and send and pause are two (two steps)"),
    ("lines: ['+CSQ: {rssi:int},{ber:int}']", "lines: [+CSQ: '{rssi:int},{ber:int}']", "[|+CSQ", "a pattern with a colon needs quotes (quote it: '+X: {name:type}')"),
    ("await: '+XSSLOPEN: {socket},{error:int}'", "await: [+XSSLOPEN: ok]", "[|+XSSLOPEN", "a pattern with a colon needs quotes"),
    # errors
    ("      cme: file\n      lines: ['+XFUPL", "      cme: fil\n      lines: ['+XFUPL", "cme: |fil\n", "no error namespace fil (did you mean file?)"),
    ("timeout: 125\n        fail: {unless: {error: 0}, code: open}", "timeout: 125\n        fail: {unless: {error: 0}, code: opn}", "code: |opn", "no error namespace opn (did you mean open?)"),
    ("timeout: 125\n        fail: {unless: {error: 0}, code: open}", "timeout: 125\n        fail: {if: {error: {min: 1}}, code: open}", "fail: {if: {error: |{min: 1}", "numbers below 1, negative ones too, would pass as success (unless: with what success is, as {error: 0})"),
    ("timeout: 125\n        fail: {unless: {error: 0}, code: open}", "timeout: 125\n        fail: {unless: {error: 0}}", "fail: |{unless: {error: 0}}", "fail needs `code` (the namespace of the number) or `kind`"),
    ("timeout: 125\n        fail: {unless: {error: 0}, code: open}", "timeout: 125\n        fail: {code: open}", "fail: |{code: open}", "fail has either `if` or `unless`"),
    ("cause: {use: last_error, code: open, except: [0]}\n\n  tls_receive", "cause: {use: last_error, code: open, from: cod}\n\n  tls_receive", "from: |cod", "last_error gives no cod (did you mean code?)"),
    # what the whole needs
    ("\nvendor: Example", "\ntitle2: Example", "|title2", "unknown key title2 in a profile (did you mean title?)"),
    ("  handshake_timeout: true", "  handshake_timeout: true\n  psk: inline", "|psk:", "capability psk needs {psk_identity} and {psk_key} in program tls_configure"),
    ("  handshake_timeout: true", "  handshake_timeout: true\n  alpn: true", "|alpn:", "capability alpn needs {alpn} in program tls_configure"),
    ("receive_mode: {pull: 0, push: 1}", "receive_mode: {pull: 0}", "|receive_mode:", "capability push needs push in table receive_mode"),
    ("finals: {SEND OK: ok, SEND FAIL: busy}", "finals: {SEND OK: ok, SEND FAIL: retry}", "SEND FAIL: |retry", "unknown word retry (known: absent, busy, closed, empty, eof, fail, ok, partial)"),
    ("  suites: one", "  suites: list", "|suites: list", "capability suites needs the table suites to have mode: list"),
    ("  receive: 1500\n", "", "|tls: ['1.0'", "capability tls needs limit receive"),
    ("  pull: true\n  push: true\n", "", "|tls: ['1.0'", "capability tls needs pull or push"),
    ("tls: ['1.0', '1.1', '1.2']", "tls: ['1.2', '1.3']", "|tls: ['1.2', '1.3']", "capability tls needs a token for 1.3 in table tls_versions"),
    ("when: {sni_key: true}}\n  host", "when: {sni_kye: true}}\n  host", "{|sni_kye", "unknown name sni_kye (did you mean sni_key?)"),
    ("    - {send: 'AT+CFUN?', match: '+CFUN: {level:int}', see: {manual: 'XY95 AT manual 2.2, 2.10'}}\n", "    - {send: 'AT+CFUN?', match: '+CMEE: {level:int}', see: {manual: 'XY95 AT manual 2.2, 2.10'}}\n", "- |{send: 'AT+CFUN?', match: '+CMEE", "its answer cannot be told from that of line "),
    ("when: {model: 'XY95-M*', firmware", "when: {sni_key: true, firmware", "when: {|sni_key: true, firmware", "a variant depends on model and firmware, not on sni_key (a condition on the step or the capability)"),
    ("capabilities: {push: null}", "capabilities: {pushh: null}", "pushh: |null", "null removes what is inherited, and there is no pushh to remove"),
    ("limits: {send: 1024}", "limits: {sent: 1024}", "{|sent: 1024", "unknown key sent in limits (did you mean send?)"),
]  # fmt: skip

# Changes that are more than one mistake.
SEVERAL = {"no socket here to save sni_key for", "unknown key title2 in a profile (did you mean title?)", "capability tls needs pull or push"}  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "where", "complaint"),
    [one for one in MISTAKES if one[3]],
    ids=lambda value: re.sub(r"\s+", " ", value)[:40] if isinstance(value, str) else None,
)
def test_mistake_is_told(old, new, where, complaint):
    assert EXAMPLE.count(old) >= 1, "the example has changed"
    text = EXAMPLE.replace(old, new, 1)
    problems = told(text)
    expected = f"{place(text, where)}: {complaint}"
    assert any(one.startswith(expected) for one in problems), f"expected {expected}\ngot " + "\n    ".join(problems)
    # What only follows from it is not told.
    assert len(problems) == (2 if complaint in SEVERAL else 1), problems


@pytest.mark.parametrize(
    ("section", "capability", "need"),
    [
        ("tls_configure", "tls", "program tls_configure"),
        ("tls_open", "tls", "program tls_open"),
        ("tls_send", "tls", "program tls_send"),
        ("tls_receive", "pull", "program tls_receive"),
        ("tls_verify", "readback", "program tls_verify"),
        ("tcp_open", "tcp", "program tcp_open"),
        ("tcp_receive", "tcp", "program tcp_receive"),
        ("tcp_acked", "acked", "program tcp_acked"),
        ("credential_list", "credentials", "program credential_list"),
        ("clock_read", "clock", "program clock_read"),
        ("clock_network", "network_time", "program clock_network"),
        ("clock_sync", "ntp", "program clock_sync"),
    ],
)
def test_capability_without_its_operation(section, capability, need):
    text = re.sub(rf"\n  {section}:\n(?:    .*\n|\n)+", "\n", EXAMPLE)
    assert text != EXAMPLE
    assert any(f"capability {capability} needs {need}" in one for one in told(text))


@pytest.mark.parametrize(
    ("line", "capability", "need"),
    [
        (r"      - when: \{sni_key: true\}\n.*\n", "sni", "{sni} or {sni_name} in program tls_configure"),
        (r'.*"ignoretime",\{context\},.*\n', "date_check", "{check_dates} in program tls_configure"),
        (r'.*"key",\{context\},.*\n', "client_certificates", "{key} in program tls_configure"),
        (r'      - send: .*"handshake".*\n.*\n', "handshake_timeout", "{handshake_timeout} in program tls_configure"),
        (r"      - each: suite\n.*\n.*\n.*\n", "suites", "{suites} in program tls_configure"),
    ],
)  # fmt: skip
def test_capability_without_its_placeholder(line, capability, need):
    text = re.sub(line, "", EXAMPLE, count=1)
    assert text != EXAMPLE
    assert any(f"capability {capability} needs {need}" in one for one in told(text))


@pytest.mark.parametrize("table", ["tls_versions", "suites"])
def test_capability_without_its_table(table):
    text = re.sub(rf"\n  {table}:\n(?:    .*\n)+", "\n", EXAMPLE)
    assert any(f"needs table {table}" in one for one in told(text))


@pytest.mark.parametrize(
    ("urcs", "complaint"),
    [
        (["tls_closed"], "capability tls needs a URC that means closed, or behaviour.poll"),
        (["tls_push"], "capability push needs a URC that means data and carries a payload"),
        (["tls_push", "tls_data"], "capability pull needs a URC that means data, or behaviour.poll"),
    ],
)
def test_capability_without_its_urc(urcs, complaint):
    text = EXAMPLE
    for one in urcs:
        text = re.sub(rf"\n  {one}: .*", "", text)
    assert any(complaint in one for one in told(text))


@pytest.mark.parametrize("key", ["vendor", "models", "identify"])
def test_what_only_an_abstract_profile_may_lack(key):
    text = re.sub(rf"\n{key}:(?: .*)?\n(?:  .*\n)*", "\n", EXAMPLE)
    assert told(text) == [f"p.yaml:2:1: missing {key} in a profile that is not abstract"]
    abstract = text.replace("name: xy95\n", "name: xy95\nabstract: true\n")
    assert told(abstract) == []


@pytest.mark.parametrize("key", ["profile", "name"])
def test_what_no_profile_may_lack(key):
    text = re.sub(rf"(?m)^{key}: .*\n", "", EXAMPLE)
    assert any(f"missing {key} in a profile" in one for one in told(text))


# (what to change, into what, where the complaint points, the complaint): of every pass, and all in one file
MANY = [
    ("name: xy95", "name: XY95", "name: |XY95", "'XY95' is not a profile's name (small letters, digits, -)"),
    ("terminator: CR", "terminator: NO", "terminator: |NO", "NO means different things to YAML readers (quote it: 'NO')"),
    ("tls: ['1.0',", "tls: [1.0,", "tls: [|1.0", "1.0 means different things to YAML readers (quote it: '1.0')"),
    ("tcp: true", "tcp: yes", "tcp: |yes", "yes means different things to YAML readers (quote it: 'yes')"),
    ("\nlimits:", "\nlimts:", "|limts:", "unknown key limts in a profile (did you mean limits?)"),
    ("569: {kind: timeout,", "569: {kind: time_out,", "kind: |time_out", "unknown word time_out (did you mean timeout?)"),
    ("means: boot", "means: booted", "means: |booted", "unknown word booted (did you mean boot?)"),
    ("      see: {manual: 'XY95 TCP manual 1.1, 2.1.8'}\n", "", "|'AT+XIRD", "a command without evidence (add see: {manual: 'title, version, section'})"),
    ("timeout: 125", "timeout: 125 m", "timeout: |125 m", "a duration expected: seconds, or text like 300ms or 1.5s"),
    ("      timeout: 40\n", "      timout: 40\n", "|timout: 40", "unknown key timout in a step of kind send (did you mean timeout?)"),
    ("      prompt: {line: CONNECT}\n", "      prompt: 5\n", "prompt: |5", "text or a map expected, not a number"),
    ("check: {written:", "check: {writen:", "|writen:", "unknown name writen (did you mean written?)"),
    ("- use: level\n      - send: 'AT+XSSLCFG=\"level\",{context},", "- use: levle\n      - send: 'AT+XSSLCFG=\"level\",{context},", "use: |levle", "no program levle (did you mean level?)"),
    ("{host:host},{port},{receive@receive_mode}'\n      see: {manual: 'XY95 SSL", "{host:host},{port},{receive@recv_mode}'\n      see: {manual: 'XY95 SSL", "|'AT+XSSLOPEN", "no table recv_mode (did you mean receive_mode?)"),
    ("'AT+XSSLSEND={socket},", "'AT+XSSLSEND={sockt},", "|'AT+XSSLSEND", "unknown name sockt (did you mean socket?)"),
    ("{context},{check_dates@on_off}", "{context},{check_date@on_off}", "|'AT+XSSLCFG=\"ignoretime\",{context},", "unknown name check_date (did you mean check_dates?)"),
    ("'+XERROR: {code:int},", "'+XERROR: {code:itn},", "|'+XERROR", "unknown type itn"),
    ("  tls_list:", "  tls_lst:", "|tls_lst:", "tls_lst is no operation and nothing uses it (did you mean tls_list?)"),
    ("'+XFLST: {name:quoted}", "'+XFLST: {nam:quoted}", "|'+XFLST: {nam", "credential_list gives no name (did you mean nam?)"),
    ("    when: {model: 'XY95-M*'", "    when: {modl: 'XY95-M*'", "{|modl", "a variant depends on model and firmware, not on modl"),
]  # fmt: skip


def test_everything_at_once_in_order_and_nothing_twice():
    text = EXAMPLE
    for old, new, _, _ in MANY:
        assert old in text, f"the example has changed: {old}"
        text = text.replace(old, new, 1)
    problems = told(text)
    assert problems == sorted(problems, key=lambda one: [int(part) for part in one.split(":")[1:3]])
    wanted = [f"{place(text, where)}: {complaint}" for _, _, where, complaint in MANY]
    assert [one for one in wanted if not any(got.startswith(one) for got in problems)] == []
    assert [got for got in problems if not any(got.startswith(one) for one in wanted)] == []


@pytest.mark.parametrize("section", ["tables", "errors", "programs", "urcs", "limits", "capabilities"])
def test_a_section_of_the_wrong_shape_is_one_mistake(section):
    text = re.sub(rf"\n{section}:\n(?:  .*\n|\n)+", f"\n{section}: none\n", EXAMPLE)
    assert len([one for one in told(text) if "null removes" not in one]) == 1


def test_wrong_parts_do_not_hide_that_names_exist():
    """A table with a mistake is still a table: nothing complains that it does not exist."""
    problems = told(EXAMPLE.replace("off_on: {false: 0, true: 1}", "off_on: {false: 0, true: 1.5}"))
    assert len(problems) == 1


# -- the rest, each in a small profile ------------------------------------------------------------------------

HEAD = "profile: 1\nname: test\nvendor: v\nmodels: [m]\nidentify: {model: x}\n"


def steps(*lines: str, op: str = "tls_configure") -> str:
    return f"programs:\n  {op}:\n    see: {{manual: x}}\n    steps:\n" + "".join(f"      - {one}\n" for one in lines)


SMALL = [
    ("limits: {contexts: {from: 5, to: 0}}", "an empty range"),
    ("limits: {contexts: {from: 0, to: 2000000000}}", "a range of 2000000001 numbers: 1024 at most"),
    (steps("each: x\n        in: {from: -1, to: 1023}\n        do: [{return: ok}]"), "a range of 1025 numbers: 1024 at most"),
    (
        steps("each: x\n        in: {from: 1, to: 99}\n        do: [{each: y, in: {from: 1, to: 99}, do: [{each: z, in: {from: 1, to: 9}, do: [{return: ok}]}]}]"),
        "loops within loops: 9801 rounds, 4096 at most",
    ),
    ("limits: {contexts: [1, 2, 1]}", "a number occurs twice"),
    ("limits: {contexts: []}", "numbers: at least 1 expected"),
    ("behaviour: {poll: -1}", "a duration expected"),
    ("urcs: {x: {match: 'X: {a:int}', means: data, secret: [b]}}", "the pattern captures no b"),
    ("urcs: {x: {match: 'X: {a:int}', means: data, save: {boot: [b]}}}", "the pattern captures no b"),
    ("identify: {model: x, firmware: {send: ATI9, match: '{version:text}', see: {manual: x}}}", "the pattern captures no firmware"),
    ("urcs: {x: {match: 'X: {a:int}', means: opened}}", "a URC that means opened captures socket"),
    ("urcs: {x: {match: 'X: {socket:int}', means: data, number: held}}", "only of a URC that means closed or broken the number may be held"),
    ("urcs: {x: {match: 'X: {n:int},{d:rawhex(m)}', means: data}}", "rawhex(m): no int field m is captured before it"),
    ("secrets: {x: {match: 'AT+X={a:int},{b:any}', secret: [c], see: {manual: m}}}", "the pattern captures no c"),
    ("secrets: {x: {match: 'AT+X={a:int},{b}', secret: [a], see: {manual: m}}}", "{b} has no type"),
    ("secrets: {x: {match: 'AT+X {a:any}', secret: [a], see: {manual: m}}}", "neither a command nor an answer with a name and a value (write AT+X=… or '+X: …')"),
    ("secrets: {x: {match: 'X={a:any}', secret: [a], see: {manual: m}}}", "neither a command nor an answer"),
    ("secrets: {x: {match: 'AT+X={a:any}', see: {manual: m}}}", "missing secret in a line with secrets"),
    ("secrets: {x: {match: 'AT+X={a:any}', secret: [a]}}", "missing see in a line with secrets"),
    ("urcs: {x: {match: 'X', means: registration}}", "a URC that means registration captures stat"),
    ("urcs: {x: {match: 'X: {a:int}', means: session, save: {context: [a]}}}", "a URC that means session captures context"),
    ("urcs: {x: {match: X, means: data, clears: [flag]}}", "no step keeps flag"),
    ("urcs: [{match: 'X {a:int}', means: data}, {match: 'X 5', means: closed}]", "never matches: 1 (line 6)"),
    ("urcs: {x: {match: 'X {a:raw(b)}', means: data}}", "raw(b): no int field b is captured before it"),
    ("identify: {ask: [{send: 'AT#V', match: '#V: {v:any}'}]}", "a command without evidence"),
    ("identify: {}", "identify is empty: any modem would match"),
    ("recovery: {probes: [{send: AT, match: A, see: {manual: x}}]}", "probes: at least 2 expected"),
    (
        "recovery: {escape: {text: '\\q'}, probes: [{send: AT, match: A, see: {manual: x}}, {send: AT, match: B, see: {manual: x}}]}",
        "unknown escape",
    ),
    ("tables: {t: {}}", "empty"),
    ("tables: {t: {a: true}}", "text, a number or a list expected, not true or false"),
    ("tables: {suites: {mode: one, codes: {}}}", "empty"),
    ("errors: {e: {codes: {5: {kind: busy}}}}", "missing text in an error code"),
    ("programs: {Setup: [{return: ok}]}", "'Setup' is not a program's name"),
    ("programs: {setup: {see: {manual: x}}}", "missing steps in a program"),
    ("programs: {setup: []}", "steps: at least 1 expected"),
    ("programs: {setup: [{return: fail}]}", "unknown word fail"),
    # exchanges
    (steps("send: 'AT'\n        timeout: {base: 1, plus: nosuch}"), "unknown name nosuch"),
    (steps("send: 'AT'\n        timeout: {base: 1, plus: verify}"), "verify is bool, not a number"),
    (steps("send: 'AT'\n        secret: [nosuch]"), "unknown name nosuch"),
    (steps("send: 'AT'\n        lines: [{match: 'A {a:int}', keep: {a: 1}}]"), "keep is for lines with repeat: many"),
    (steps("send: 'AT'\n        lines: [{match: 'A {a:int}', secret: [b]}]"), "the pattern captures no b"),
    (steps("send: 'AT'\n        lines: [{match: 'A {a:int}', map: {b: t}}]", op="signal"), "the pattern captures no b"),
    (
        steps("send: 'AT'\n        lines: [{match: 'A {a:int}', map: {a: t}}]") + "tables: {t: {b: 1, c: 1}}",
        "table t cannot be read: 1 stands for several words",
    ),
    (steps("send: 'AT'\n        finals: {'X {n:int},{d:raw(n)}': ok}"), "a final result carries no payload"),
    (steps("send: 'AT'\n        finals: {'X {context}': ok}"), "{context} has no type"),
    (steps("send: 'AT'\n        finals: {X: fine}"), "unknown word fine"),
    (steps("send: 'AT'\n        prompt: {settle: 1}"), "prompt has either `text` or `line`"),
    (steps("send: 'AT'\n        prompt: {line: '{a'}"), "a brace that belongs to no placeholder"),
    (steps("send: 'AT'\n        lines: ['A {verify}']"), "verify is bool and cannot be compared with text"),
    (steps("send: 'AT'\n        lines: ['A {ca}']"), "ca may be missing here"),
    (steps("send: 'AT'\n        check: {nosuch: 1}"), "unknown name nosuch"),
    (steps("send: 'AT{version@nosuch}'"), "no table nosuch"),
    (steps("send: 'AT{verify@t:pem}'") + "tables: {t: {true: 1}}", "kind pem does not fit a word of a table"),
    (steps("send: 'AT{ca:join(;)}'"), "ca is text: join is for lists"),
    (steps("send: 'AT{suites}'"), "suites needs a quoting kind (for tokens: join(;))"),
    (steps("send: 'AT{ca:line?}'"), "kind line is for payloads only"),
    (steps("send: 'AT{{{}'"), "a brace that belongs to no placeholder"),
    (steps("send: 'AT'\n        retry: {if: {code: 1}, times: 1, after: 1s}", op="setup").replace("    see: {manual: x}\n", ""), "a pause needs its source"),
    (steps("send: 'AT'\n        cause: {use: nosuch, code: cme}"), "no program nosuch"),
    (steps("send: 'AT'\n        cause: {use: tls_configure, code: cme}"), "tls_configure uses itself"),
    (steps("check: {nosuch: {list: suites, between: ';'}}"), "unknown name nosuch"),
    (steps("send: 'AT'\n        lines: ['A: {a:word}']\n        check: {a: {list: suites}}"), "what a field must list is"),
    (steps("send: 'AT'\n        lines: ['A: {a:word}']\n        check: {a: {list: nosuch, between: ';'}}"), "unknown name nosuch"),
    (steps("send: 'AT'\n        lines: ['A: {a:word}']\n        check: {a: {list: version, between: ';'}}"), "version is token, not a list"),
    (steps("send: 'AT'\n        lines: ['A: {a:word}']\n        check: {a: {list: suites, table: nosuch, between: ';'}}"), "no table nosuch"),
    # payloads
    (steps("send: 'AT'\n        prompt: '>'\n        payload: {data: data, pause: 1s, see: {manual: x}}", op="tls_send"), "a pause between chunks needs `chunk`"),
    (steps("send: 'AT'\n        prompt: '>'\n        payload: {data: data, chunk: 5, pause: 1s}", op="tls_send"), "a pause needs its source"),
    (steps("send: 'AT'\n        prompt: '>'\n        payload: {data: data, end: 'x', escape: {text: y}}", op="tls_send"), "a payload has either `end` or `escape`"),
    (steps("send: 'AT'\n        prompt: '>'\n        payload: {data: data, end: '\\q'}", op="tls_send"), "unknown escape"),
    (steps("send: 'AT'\n        prompt: '>'\n        payload: {data: data, escape: {text: '\\q'}}", op="tls_send"), "unknown escape"),
    (steps("send: 'AT'\n        prompt: '>'\n        payload: {data: data, escape: {text: '+++', split: true}}", op="tls_send"), "how long is not said"),
    (steps("send: 'AT'\n        prompt: '>'\n        payload: {data: data, escape: {text: '+', quiet: 1s, split: true}}", op="tls_send"), "one character cannot be split"),
    (steps("send: 'AT'\n        prompt: '>'\n        payload: {data: data, chunk: 5, escape: {text: '+++', quiet: 1s}}", op="tls_send"), "data with silence before its escape goes in one piece"),
    (steps("send: 'AT'\n        prompt: '>'\n        payload: nosuch", op="tls_send"), "unknown name nosuch"),
    (steps("send: 'AT'\n        prompt: '>'\n        payload: {data: '{nosuch:line}'}", op="tls_send"), "unknown name nosuch"),
    # the other kinds
    (steps("await: 'A {a:int}'"), "missing timeout in a step of kind await"),
    (steps("await: 'A {nosuch}'\n        timeout: 1"), "unknown name nosuch"),
    (steps("await: 'A'\n        timeout: 1\n        collect: 'B'"), "collect needs a pattern with a payload"),
    (steps("await: [{match: 'A {a:int}', secret: [b]}]\n        timeout: 1"), "the pattern captures no b"),
    (steps("await: ['A {a:int}', 'A {b:int}']\n        timeout: 1"), "never matches: line 10"),
    (steps("each: x\n        in: nosuch\n        do: [{return: ok}]"), "unknown name nosuch"),
    (steps("each: x\n        in: verify\n        do: [{return: ok}]"), "verify is bool, not a list"),
    (steps("each: x\n        in: {limit: contexts}\n        do: [{return: ok}]"), "limits has no contexts"),
    (steps("each: x\n        in: {from: 1}\n        do: [{return: ok}]"), "a range needs `from` and `to`, or `limit`"),
    (steps("first: [{return: ok}]"), "alternatives: at least 2 expected"),
    (steps("set: {a: 1}\n        scope: socket", op="setup"), "no socket here to set a value for"),
    (steps("set: {a: '{ca:quoted}'}"), "ca: a value has no quoting kind"),
    (steps("set: {a: '{ca|nosuch}'}"), "unknown codec nosuch"),
    (steps("set: {a: '{nosuch}'}"), "unknown name nosuch"),
    (steps("set: {a: {least: [1, nosuch]}}"), "unknown name nosuch"),
    (steps("set: {a: {least: [1, ca]}}"), "ca is text, not a number"),
    (steps("check: {nosuch: 1}"), "unknown name nosuch"),
    (steps("fail: busy\n        code: cme"), "fail needs `from`: which name has the code"),
    (steps("fail: busy\n        code: cme\n        from: nosuch"), "unknown name nosuch"),
    (steps("fail: busy\n        code: nosuch\n        from: context"), "no error namespace nosuch"),
    (steps("fail: busy", "return: ok"), "unreachable: the step before it always ends the program (fail)"),
    (steps("use: nosuch"), "no program nosuch"),
    (steps("use: tls_configure"), "tls_configure uses itself"),
    (steps("{when: {nosuch: 1}, return: ok}"), "unknown name nosuch"),
    (steps("{when: {context: {from: '1'}}, return: ok}"), "from is for firmware"),
    (steps("{when: {ca: {min: 1}}, return: ok}"), "ca is text, not a number"),
    (steps("{when: {context: {below: nosuch}}, return: ok}"), "unknown name nosuch"),
    (steps("{when: {verify: {not: 1}}, return: ok}"), "verify is bool and never 1"),
    (steps("{send: 'AT', tolerate: {nosuch: 1}}"), "unknown name nosuch"),
    (steps("{send: 'AT', tolerate: 5}"), "true or a condition expected, not a number"),
    (steps("{send: 'AT', lines: ['A {a:int},{b:int}'], fail: {unless: {a: 0, b: 0}, code: cme}}"), "fail needs `from`"),
    (steps("{send: 'AT', lines: ['A {a:int}'], fail: {unless: {a: 0}, code: cme, from: nosuch}}"), "unknown name nosuch"),
    (steps("{send: 'AT', outcome: [{if: {final: X}}]}"), "missing is in an outcome rule"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "complaint"), SMALL, ids=[re.sub(r"\s+", " ", body)[-60:] for body, _ in SMALL])
def test_small_mistake_is_told(body, complaint):
    head = HEAD.replace("identify: {model: x}\n", "") if body.startswith("identify") else HEAD
    problems = told(head + body)
    assert any(f": {complaint}" in one for one in problems), problems
