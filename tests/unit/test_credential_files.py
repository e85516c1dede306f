"""What is wrong with a certificate or key is told in one line, with the file it came from."""

from __future__ import annotations

import os
import threading

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from modemtls.cli.main import main
from modemtls.errors import ConfigurationError, CredentialError
from modemtls.modem.pem import MAX_SIZE
from modemtls.net import Certificates, SslConfiguration, create_ssl_socket
from tests.support.fakemodem import FakeModem
from tests.support.pki import private_pem


@pytest.fixture
def files(pki, tmp_path):
    """Files by name: good ones, and what people hand over instead."""
    client, other = pki.leaf("gateway.example"), pki.leaf("somebody.example")
    ca = pki.ca.read_bytes()
    made = {
        "ca": ca,
        "cert": client.cert_pem,
        "key": client.key_pem,
        "both": client.cert_pem + client.key_pem,
        "other-key": other.key_pem,
        "locked": private_pem(rsa.generate_private_key(65537, 2048), b"secret"),
        "words": b"this is no certificate\n",
        "cut": ca[: len(ca) // 2],
        "empty": b"",
        "large": b"#" * (MAX_SIZE + 1),
    }
    for name, data in made.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


WRONG = [
    ({"ca": "words"}, "CA certificate {ca}: this is not PEM text (no -----BEGIN line)"),
    ({"ca": "cut"}, "CA certificate {ca}: the PEM block CERTIFICATE has no end"),
    ({"ca": "empty"}, "CA certificate {ca}: the text is empty"),
    ({"ca": "large"}, "CA certificate {ca}: this is more than any certificate or key (1048576 bytes at most)"),
    ({"ca": "key"}, "CA certificate {ca}: no such block in the PEM text (it holds RSA PRIVATE KEY)"),
    ({"cert": "words", "key": "key"}, "client certificate {cert}: this is not PEM text (no -----BEGIN line)"),
    (
        {"cert": "cert", "key": "locked"},
        (
            "private key {key}: the key is encrypted, and modems cannot ask for its password; decrypt it first "
            "(openssl pkey)"
        ),
    ),
    ({"cert": "cert", "key": "words"}, "private key {key}: this is not PEM text (no -----BEGIN line)"),
    ({"cert": "cert", "key": "other-key"}, "private key {key}: it does not belong to the client certificate {cert}"),
]


@pytest.mark.parametrize(("given", "says"), WRONG)
def test_the_library_names_the_file(files, given, says):
    paths = {name: files / file for name, file in ({"ca": "ca"} | given).items()}
    security = Certificates(
        trusted=paths["ca"], client_cert=paths.get("cert"), client_key=paths.get("key"), check_hostname=False
    )
    with pytest.raises(CredentialError) as caught:
        create_ssl_socket(FakeModem(), SslConfiguration(security=security))
    assert caught.value.message == says.format(**paths)


@pytest.mark.parametrize(("given", "says"), WRONG)
def test_the_command_line_names_it_and_opens_no_port(files, given, says, capsys):
    paths = {name: str(files / file) for name, file in ({"ca": "ca"} | given).items()}
    options = [text for name, path in paths.items() for text in ("--cafile" if name == "ca" else f"--{name}", path)]
    assert main(["-p", str(files / "no-port"), "connect", "host.example", "443", *options]) == 1
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"modemtls: {says.format(**paths)}\n")


def test_text_that_came_from_no_file_is_told_by_its_kind(files):
    security = Certificates(trusted=b"words", check_hostname=False)
    with pytest.raises(CredentialError, match=r"^CA certificate: this is not PEM text"):
        create_ssl_socket(FakeModem(), SslConfiguration(security=security))


def test_what_the_modem_has_no_room_for_is_refused_before_anything_is_sent(files):
    security = Certificates(trusted=files / "ca", check_hostname=False)
    modem = FakeModem(limits={"credential_size": 500})
    with pytest.raises(CredentialError, match=r"^CA certificate .*/ca: \d+ bytes, and this modem takes 500$"):
        create_ssl_socket(modem, SslConfiguration(security=security))
    assert modem.commands == []


def test_a_name_that_no_file_can_have(files):
    security = Certificates(trusted=files / "a\0b", check_hostname=False)
    with pytest.raises(ConfigurationError, match="cannot be a file"):
        create_ssl_socket(FakeModem(), SslConfiguration(security=security))


@pytest.fixture
def pipe(files):
    """A named pipe that gives certificate and key to the first who opens it; a second one would wait forever."""
    path = files / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_bytes((files / "both").read_bytes()), daemon=True)
    writer.start()
    yield path
    writer.join(5)
    assert not writer.is_alive()


def test_one_pipe_that_holds_certificate_and_key(files, pipe):
    security = Certificates(trusted=files / "ca", client_cert=pipe, client_key=pipe, check_hostname=False)
    create_ssl_socket(FakeModem(), SslConfiguration(security=security))


@pytest.mark.parametrize("key", [(), ("--key", "pipe")])
def test_one_pipe_on_the_command_line(files, pipe, key, capsys):
    """It gets as far as the port, and that is not there."""
    options = ["--cafile", str(files / "ca"), "--cert", str(pipe), *(str(files / k) if k == "pipe" else k for k in key)]
    assert main(["-p", str(files / "no-port"), "connect", "host.example", "443", *options]) == 1
    assert "no-port" in capsys.readouterr().err


def test_the_home_directory_of_nobody(files, capsys):
    options = ["--cafile", "~no-such-user/ca.pem"]
    assert main(["-p", str(files / "no-port"), "connect", "host.example", "443", *options]) == 1
    said = "~no-such-user/ca.pem: whose home directory that is, is not known"
    assert capsys.readouterr() == ("", f"modemtls: {said}\n")
