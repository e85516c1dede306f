"""Hosts and ports that could do harm, or can never work, are refused before anything is sent."""

from __future__ import annotations

import pytest

from modemtls.errors import ConfigurationError
from modemtls.net.address import check_host, check_port


@pytest.mark.parametrize(
    "host",
    [
        'a"b', "a,b", "a\rb", "a\nb", "a\r\nAT+CFUN=0", "a\0b", "", " ", "a b", "a;b", "a\\b", "a'b", "a/b", "a%eth0",
        "\x1a", "\x1b", "a" * 254, "ä\0", ".ä", None, 5, b"\xff", b"a\r", ("a",), "\u2028", "a\u2028",
    ],
)  # fmt: skip
def test_hosts_that_are_none(host):
    with pytest.raises(ConfigurationError, match="host"):
        check_host(host)


@pytest.mark.parametrize(
    "host", ["good.example:8443", "192.0.2.1:80", "a:b", ":", "::x", "good.example:", "[good.example:1]", "1::2::3"]
)
def test_a_colon_belongs_to_an_ipv6_address_only(host):
    with pytest.raises(ConfigurationError, match="give the port separately"):
        check_host(host)


def test_what_is_quoted_in_an_error_is_short():
    for check, value in ((check_host, "a" * 100_000 + "\0"), (check_port, "9" * 100_000), (check_port, 10**4000)):
        with pytest.raises(ConfigurationError) as caught:
            check(value)
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("host", "result"),
    [
        ("server.example", "server.example"),
        ("a-b_c.Example.", "a-b_c.Example."),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("bücher.example", "xn--bcher-kva.example"),
        (b"server.example", "server.example"),
        ("a" * 253, "a" * 253),
    ],
)
def test_hosts(host, result):
    assert check_host(host) == result


def test_the_modem_has_a_limit_of_its_own():
    assert check_host("a" * 20, 20)
    with pytest.raises(ConfigurationError, match="21 characters"):
        check_host("a" * 21, 20)


@pytest.mark.parametrize(
    "port",
    [
        0,
        -1,
        65536,
        1 << 40,
        "0",
        "65536",
        "abc",
        "",
        " 80",
        "80 ",
        "+80",
        "1_0",
        "٣",
        "123456",
        None,
        80.0,
        True,
        b"80",
    ],
)
def test_ports_that_are_none(port):
    with pytest.raises(ConfigurationError, match="port"):
        check_port(port)


@pytest.mark.parametrize(("port", "number"), [(1, 1), (65535, 65535), ("443", 443), ("00443", 443)])
def test_ports(port, number):
    assert check_port(port) == number
