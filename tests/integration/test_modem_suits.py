"""A profile or a setting that would drive the modem wrongly is refused before anything that depends on it is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from modemtls.cli.main import main
from modemtls.errors import ConfigurationError, NotSupportedError
from modemtls.modem.attaching import attach
from modemtls.modem.settings import Settings
from modemtls.profile import loading
from modemtls.sim import embedded

NOWHERE = "/dev/no-such-port"


@pytest.fixture
def child(tmp_path: Path):
    def write(body: str) -> str:
        path = tmp_path / "mine.yaml"
        path.write_text(f"profile: 1\nname: mine\nextends: quectel-bg95\n{body}\n")
        return str(path)

    return write


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ("limits: {credential_names: ['1', '2']}", "limits.credential_names"),
        ("behaviour: {announced_only: true}", "behaviour.announced_only"),
    ],
)
def test_a_key_that_is_not_acted_upon_drives_no_modem(child, capsys, body, key):
    path = child(body)
    with pytest.raises(NotSupportedError, match=f"mine: {key} is not acted upon yet") as caught:
        attach(NOWHERE, Settings(profile=path))
    assert caught.value.capability == key
    assert main(["profile", "check", path]) == 0
    assert f"note: {key} is not acted upon yet" in capsys.readouterr().out


def test_a_key_that_says_no_is_harmless(child, capsys):
    assert main(["profile", "check", child("behaviour: {announced_only: false}\nlimits: {connecting: 1}")]) == 0
    assert "note" not in capsys.readouterr().out


def test_a_context_that_the_profile_does_not_list_is_refused_before_the_port_is_opened(child):
    with pytest.raises(ConfigurationError, match="pdp: this modem has no PDP context 99, only 1 to 16"):
        attach(NOWHERE, Settings(profile="quectel-bg95", pdp=99))
    with pytest.raises(ConfigurationError, match="no PDP context 2, only 1, 3"):
        attach(NOWHERE, Settings(profile=child("limits: {pdp_contexts: [1, 3]}"), pdp=2))


def test_a_context_of_a_modem_that_tells_its_profile_is_refused_before_it_is_set_up():
    sent: list[bytes] = []
    with pytest.raises(ConfigurationError, match="no PDP context 99"):
        attach(
            "sim:quectel-bg95",
            Settings(pdp=99),
            trace=lambda record: sent.append(record.data) if record.direction == "out" else None,
        )
    assert any(b"+CGMM" in line for line in sent)
    assert not any(b"CFUN=" in line or b"+Q" in line for line in sent)


def test_a_profile_from_a_file_is_compiled_once_for_each_opening_as_it_stands_then(child, monkeypatch):
    made = []
    real = loading.compiled
    monkeypatch.setattr(loading, "compiled", lambda root, problems: made.append(root) or real(root, problems))
    with embedded.open("quectel-bg95", {"boot-time": "0.02"}) as sim:
        for size in (1000, 1001):
            with attach(sim.path, Settings(profile=child(f"limits: {{send: {size}}}"))) as modem:
                assert modem.limits["send"] == size
    assert [root.entries["name"].scalar for root in made] == ["mine", "mine"]
