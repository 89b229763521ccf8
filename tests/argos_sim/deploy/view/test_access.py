"""Laws of who may look on: loopback or the token, and only under this machine's own names."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from argos_sim.deploy.view.access import TOKEN_VARIABLE, Access, ViewSettings, read_token

CHOSEN = "a token that somebody chose"


def test_looking_is_free_on_loopback_alone_and_stopping_nowhere() -> None:
    here, there, chosen = (
        Access(ViewSettings(host="::1")),
        Access(ViewSettings(host="0.0.0.0")),
        Access(ViewSettings(token=CHOSEN)),
    )
    assert (here.public, there.public, chosen.public) == (False, True, True)
    assert (here.drawn, there.drawn, chosen.drawn) == (True, True, False)
    assert here.token != there.token and len(here.token) >= 32 and chosen.token == CHOSEN
    for access in (here, there, chosen):
        assert access.knows(access.token)
        assert not any(access.knows(wrong) for wrong in (None, "", access.token[:-1], access.token + "x", "ä"))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8765", "localhost:9000", "[::1]:8765", "LOCALHOST"])
def test_this_machine_is_called_so(host: str) -> None:
    assert Access(ViewSettings()).is_ours(host) and Access(ViewSettings(host="localhost")).is_ours(host)


@pytest.mark.parametrize(
    "host", [None, "", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "[a]"]
)
def test_a_strangers_name_for_this_address_is_not_ours(host: str | None) -> None:
    assert not Access(ViewSettings()).is_ours(host)
    assert not Access(ViewSettings(host="0.0.0.0")).is_ours(host)


def test_in_a_network_this_machine_has_its_name_and_addresses_and_on_loopback_none_of_them() -> None:
    there, name = Access(ViewSettings(host="192.0.2.7")), socket.gethostname()
    assert there.is_ours("192.0.2.7:8765") and there.is_ours(f"{name}:8765") and there.is_ours("[2001:db8::1]:8765")
    here = Access(ViewSettings())
    assert not here.is_ours("192.0.2.7:8765") and (name == "localhost" or not here.is_ours(name))


def test_a_page_of_another_origin_is_not_this_page() -> None:
    access = Access(ViewSettings())
    assert access.same_origin(None, "localhost:8765") and access.same_origin("http://localhost:8765", "localhost:8765")
    for origin in ("http://evil.example", "null", "https://localhost:8765", "http://localhost:8766"):
        assert not access.same_origin(origin, "localhost:8765")


def test_a_token_comes_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    assert read_token(None) == ""
    monkeypatch.setenv(TOKEN_VARIABLE, f" {CHOSEN}\n")
    assert read_token(None) == CHOSEN
    (tmp_path / "token").write_text("another token of somebody's\n")
    assert read_token(tmp_path / "token") == "another token of somebody's", "a file comes first"
    (tmp_path / "token").write_text("\n")
    with pytest.raises(ValueError, match="is empty"):
        read_token(tmp_path / "token")
    with pytest.raises(ValueError, match="cannot be read"):
        read_token(tmp_path / "none")


def test_settings_that_make_no_sense_are_refused_and_the_token_is_not_shown() -> None:
    with pytest.raises(ValueError, match="port 65536 is none"):
        ViewSettings(port=65536)
    for token in ("short", "sixteen letters\n and more", "vierzehn Zeichen und ein ä"):
        with pytest.raises(ValueError, match="at least 16 ASCII") as error:
            ViewSettings(token=token)
        assert token not in str(error.value)
    assert CHOSEN not in repr(ViewSettings(token=CHOSEN))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--view", "99999"], "The view's port 99999 is none"),
        (["--view", "--view-token-file", "/nowhere/token"], "The token's file /nowhere/token cannot be read"),
    ],
)
def test_the_script_says_in_a_sentence_what_is_wrong_with_a_view(arguments: list[str], message: str) -> None:
    command = [sys.executable, "scripts/run_robot.py", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith(f"error: {message}") and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
