import pytest
from pydantic import ValidationError

from drn.config import Config
from drn.errors import InvalidConfig
from service.settings import Settings, is_loopback


def test_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", "0.0.0.0")
    monkeypatch.setenv("PORT", "9001")
    monkeypatch.setenv("DRN_PROFILE", "demo")
    monkeypatch.setenv("DRN_CONFIG", '{"gamma": 0.3, "advantage_layers": [16, 8]}')
    settings = Settings()
    assert (settings.host, settings.port, settings.on_loopback) == ("0.0.0.0", 9001, False)
    assert settings.config() == Config.profile("demo", gamma=0.3, advantage_layers=(16, 8))


def test_defaults_are_for_one_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOST", raising=False)
    settings = Settings()
    assert settings.on_loopback
    assert settings.config() == Config()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DRN_PROFILE", "fast"),
        ("PORT", "70000"),
        ("DRN_MAX_CANDIDATES", "0"),
        ("DRN_CONFIG", "not json"),
        ("DRN_LOG_LEVEL", "LOUD"),
    ],
)
def test_wrong_values_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises((ValidationError, ValueError)):
        Settings()


def test_unknown_hyper_parameters_are_named() -> None:
    with pytest.raises(InvalidConfig, match="gama"):
        Settings(changes={"gama": 0.3}).config()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.3", "example.org", "localhost.example.org", ""])
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)
