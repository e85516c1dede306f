"""The command line against a simulated modem in a process of its own: ports, PINs, what it tells, the simulator."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

from modemtls.sim.process import ModemProcess
from tests.support.command_line import (
    ALL,
    NAME,
    PROGRAM,
    Site,
    one_line,
    plain_environment_fixture,  # noqa: F401
    run,
    site_fixture,  # noqa: F401
)

# -- ports and PINs ------------------------------------------------------------------------------------------------


def test_ports_that_are_none(tmp_path: Path) -> None:
    one_line(run("-p", "/dev/absent", "info"), "/dev/absent")
    one_line(run("-p", "/dev/null", "info"), "/dev/null")
    one_line(run("-p", "sim:absent", "info"), "absent", "quectel-bg95")
    one_line(run("-p", "socket://127.0.0.1:1", "info"), "refused")
    one_line(run("-p", tmp_path, "terminal"), str(tmp_path))


def test_a_port_with_nobody_behind_it() -> None:
    master, slave = os.openpty()
    try:
        one_line(run("-p", os.ttyname(slave), "info"), "no modem there")
    finally:
        os.close(slave)
        os.close(master)


def test_a_busy_port_says_who_has_it(site: Site) -> None:
    command = [*PROGRAM, "-p", site.modem.path, "terminal"]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdin.write(b"AT\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == b"AT\n"
        one_line(run("-p", site.modem.path, "info"), "in use", str(holder.pid))
    finally:
        holder.communicate(timeout=10)


def test_the_pin_comes_from_a_file_and_a_wrong_one_is_told(tmp_path: Path) -> None:
    wrong, right, silly = tmp_path / "wrong", tmp_path / "right", tmp_path / "silly"
    wrong.write_text("9876\n")
    right.write_text("1234\n")
    silly.write_text("12ab\n")
    with ModemProcess("quectel-bg95", "--variant", "sim=pin") as modem:
        arguments = ("-p", modem.path, "connect", "absent.invalid", "443", "--no-verify")
        one_line(run(*arguments), "SIM", "--pin-file")
        assert "12ab" not in one_line(run(*arguments, "--pin-file", silly), "PIN")
        one_line(run(*arguments, "--pin-file", tmp_path / "absent"), "absent", "No such file")
        assert "9876" not in one_line(run(*arguments, "--pin-file", wrong), "PIN was refused")
        one_line(run(*arguments, "--pin-file", right), "absent.invalid", "name")
        assert json.loads(run("-p", modem.path, "info", "--json").stdout)["status"]["sim"] == "ready"


def test_a_wrong_pin_costs_one_try_in_however_many_runs(tmp_path: Path, state_folder: Path) -> None:
    wrong, right = tmp_path / "wrong", tmp_path / "right"
    wrong.write_text("9876\n")
    right.write_text("1234\n")
    trace = tmp_path / "trace"
    with ModemProcess("quectel-bg95", "--variant", "sim=pin", "--trace", str(trace)) as modem:
        arguments = ("-p", modem.path, "connect", "absent.invalid", "443", "--no-verify")
        one_line(run(*arguments, "--pin-file", wrong), "PIN was refused")
        (note,) = state_folder.iterdir()
        for _ in range(3):
            one_line(run(*arguments, "--pin-file", wrong), "refused before", f"delete {note}")
        one_line(run(*arguments, "--pin-file", right), "absent.invalid", "name")  # the SIM is not blocked
    assert trace.read_text().count("AT+CPIN=") == 2


def test_a_pin_that_cannot_be_noted_is_not_sent(tmp_path: Path, state_folder: Path) -> None:
    right, trace = tmp_path / "right", tmp_path / "trace"
    right.write_text("1234\n")
    state_folder.parent.write_text("a file where the folder should be")
    with ModemProcess("quectel-bg95", "--variant", "sim=pin", "--trace", str(trace)) as modem:
        arguments = ("-p", modem.path, "connect", "absent.invalid", "443", "--no-verify")
        one_line(run(*arguments, "--pin-file", right), "PIN is not sent", "Not a directory", "$XDG_STATE_HOME")
    assert "AT+CPIN=" not in trace.read_text()


def test_verbose_shows_the_dialogue_without_secrets(tmp_path: Path) -> None:
    pin = tmp_path / "pin"
    pin.write_text("1234\n")
    with ModemProcess("quectel-bg95", "--variant", "sim=pin") as modem:
        done = run("-p", modem.path, "-v", "connect", "absent.invalid", "443", "--no-verify", "--pin-file", pin)
    text = done.stderr.decode()
    assert "--> AT+CPIN=" in text
    assert "1234" not in text.replace("0X", "")
    assert done.returncode == 1


# -- info, credentials ---------------------------------------------------------------------------------------------


def test_info_for_people_and_for_programs(site: Site) -> None:
    told = json.loads(site.run("info", "--json").stdout)
    assert told["profile"] == "quectel-bg95"
    assert told["capabilities"]["hostname_check"] is True
    assert told["capabilities"]["psk"] is False
    text = site.run("info").stdout.decode()
    assert re.search(r"^profile +quectel-bg95$", text, re.MULTILINE)
    assert told["modem"]["imei"] in text


def test_info_without_a_port_lists_candidates(tmp_path: Path) -> None:
    done = run("info", "--json")
    assert done.returncode == 0
    assert isinstance(json.loads(done.stdout)["candidates"], list)


def test_the_port_may_come_from_the_environment_or_a_file(site: Site, tmp_path: Path) -> None:
    assert run("info", MODEMTLS_PORT=site.modem.path).returncode == 0
    config = tmp_path / "c.toml"
    config.write_text(f'port = "{site.modem.path}"\ncafile = "{site.pki.ca}"\n')
    done = run("get", f"https://{NAME}/page", MODEMTLS_CONFIG=str(config))
    assert done.stdout == bytes(ALL)


def test_credentials_are_listed_and_removed(site: Site) -> None:
    assert site.run("credentials", "purge").returncode == 0
    assert json.loads(site.run("credentials", "list", "--json").stdout) == []
    site.run("get", f"https://{NAME}/page", *site.tls())
    (only,) = json.loads(site.run("credentials", "list", "--json").stdout)
    assert only["name"].startswith("mtls-")
    assert only["name"].encode() in site.run("credentials", "list").stdout
    one_line(site.run("credentials", "remove", "mtls-" + "0" * 20), "0000")
    one_line(site.run("credentials", "remove", "somebody-elses.pem"), "somebody-elses.pem")
    assert site.run("credentials", "remove", only["name"]).returncode == 0
    assert site.run("credentials", "list").stdout == b""


# -- profiles and the simulator ------------------------------------------------------------------------------------


def test_profiles_for_people_and_for_programs() -> None:
    listed = json.loads(run("profiles", "--json").stdout)
    assert {"quectel-bg95", "quectel-bg96"} <= {one["name"] for one in listed}
    for one in listed:
        assert {"name", "vendor", "models", "capabilities", "limits"} <= set(one)
        assert not one["name"].endswith("common")
    names = run("profiles", "--names").stdout.decode().split()
    assert names == [one["name"] for one in listed]
    assert all(name.encode() in run("profiles").stdout for name in names)


def test_profile_tools(tmp_path: Path) -> None:
    flat = run("profile", "show", "quectel-bg95", "--flat")
    assert flat.returncode == 0
    whole = tmp_path / "quectel-bg95.yaml"
    whole.write_bytes(flat.stdout)
    assert run("profile", "check", whole).returncode == 0
    whole.write_bytes(flat.stdout.replace(b"\ncapabilities:", b"\ncapabilites:"))
    done = run("profile", "check", whole)
    assert done.returncode == 1
    assert re.search(rb"quectel-bg95\.yaml:\d+:\d+: .*did you mean capabilities", done.stdout)
    assert done.stderr.count(b"\n") == 1
    found = json.loads(run("profile", "check", whole, "--json").stdout)
    assert {"file", "line", "column", "message", "hint"} == set(found[0])
    assert json.loads(run("profile", "schema").stdout)["$schema"]
    one_line(run("profile", "show", "absent"), "absent")


def test_a_simulated_modem_says_where_it_is_and_stops(tmp_path: Path) -> None:
    link = tmp_path / "modem"
    process = subprocess.Popen(
        [*PROGRAM, "sim", "quectel-bg95", "--link", str(link), "--variant", "start=running"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    path = process.stdout.readline().decode().strip()
    assert link.resolve() == Path(path)
    assert run("-p", link, "info").returncode == 0
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (0, b"")
    assert not link.is_symlink()


def test_wrong_use_of_the_simulator() -> None:
    for arguments in ([], ["absent"], ["quectel-bg95", "--fault", "x"], ["quectel-bg95", "--baud", "0"]):
        done = run("sim", *arguments)
        assert done.returncode == 2
        assert done.stderr.count(b"\n") == 1
        assert done.stdout == b""
