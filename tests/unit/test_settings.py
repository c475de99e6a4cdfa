"""Settings from the environment: each bad value stops the start with a message that names its variable."""

from __future__ import annotations

from pathlib import Path

import pytest

from spark_export.errors import SettingsError
from spark_export.settings import PREFIX, Settings, load_settings, load_usable_settings, variable_of


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine reaches the tests."""
    for name in Settings.model_fields:
        monkeypatch.delenv(variable_of(name), raising=False)


def load(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    """Settings of an environment with these variables."""
    for name, value in variables.items():
        monkeypatch.setenv(PREFIX + name, value)
    return load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "x"), ("PORT", "-1"), ("PORT", "65536"), ("MAX_CONCURRENT", "0"), ("MAX_CONCURRENT", "1.5"),
     ("MAX_QUEUE", "-1"), ("QUEUE_TIMEOUT_SECONDS", "0"), ("RATE_PER_SECOND", "0"), ("RATE_PER_SECOND", "-1"),
     ("RATE_BURST", "0"), ("MAX_ROWS", "0"), ("MAX_BODY_BYTES", "-5"), ("EXPORT_TIMEOUT_SECONDS", "0"),
     ("DRAIN_SECONDS", "soon"), ("RECEIPTS_KEPT", "0"), ("DUCKDB_MEMORY_BYTES", "1000"), ("DUCKDB_THREADS", "0"),
     ("KERNEL_THREADS", "0"), ("SPOOL_DIR", "/no/such/folder"), ("DATASETS", "/no/such/file.toml"),
     ("LOG_FORMAT", "xml"), ("LOG_LEVEL", "loud"), ("API_KEYS", "nokey"), ("API_KEYS", "=x"), ("API_KEYS", "a="),
     ("API_KEYS", "a=1,a=2"), ("API_KEYS", ","), ("API_KEYS_FILE", "/no/such/file.toml"), ("MAX_MEMORY_BYTES", "1000"),
     ("MAX_CONNECTIONS", "1"), ("MIN_CLIENT_BYTES_PER_SECOND", "0"), ("RECEIPTS_SECONDS", "0"), ("OPS_PORT", "70000"),
     ("ALLOW_ANONYMOUS", "perhaps"), ("MAX_CONCURRENT", "")],
)  # fmt: skip
def test_bad_value(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A value that cannot be used is an error that names its variable, and only it."""
    with pytest.raises(SettingsError, match=f"^{PREFIX}{name}: .") as caught:
        load(monkeypatch, **{name: value})
    assert str(caught.value).count(PREFIX) == 1


def test_all_bad_values_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several bad values are named at once."""
    with pytest.raises(SettingsError, match=r"PORT.*MAX_QUEUE"):
        load(monkeypatch, PORT="x", MAX_QUEUE="y")


@pytest.mark.parametrize("value", ["hunter2-hunter2", "a=hunter2-hunter2,a=x", "hunter2-hunter2,b=c"])
def test_secrets_are_not_told(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """No key is in the message about bad keys."""
    with pytest.raises(SettingsError) as caught:
        load(monkeypatch, API_KEYS=value)
    assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key is in the text of the settings, while it can be had."""
    settings = load(monkeypatch, API_KEYS="bot=hunter2, ops=pass=word")
    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump()}"
    assert {name: key.get_secret_value() for name, key in (settings.api_keys or {}).items()} == {
        "bot": "hunter2", "ops": "pass=word"}  # fmt: skip


@pytest.mark.parametrize("name", ["MAX_ROW", "PROT", "SERVICE_NAME", "port"])
def test_unknown_variable(name: str) -> None:
    """A variable with the prefix that is no setting is refused by its name."""
    with pytest.raises(SettingsError, match=f"^{PREFIX}{name}: no such setting"):
        load_settings({PREFIX + name: "1"})


def test_kubernetes_service_links() -> None:
    """What Kubernetes sets beside a Service of the same name is ignored."""
    links = ("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT_4001_TCP", "PORT_4001_TCP_ADDR",
             "PORT_4001_TCP_PROTO")  # fmt: skip
    assert load_settings({PREFIX + name: "tcp://10.0.0.1:4001" for name in links}).port == 4001


def test_kubernetes_port_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """The link that has the very name of the port's variable does not stop the start."""
    assert load(monkeypatch, PORT="tcp://10.0.0.1:4001").port == 4001


def test_empty_is_unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable means unlimited, where a setting may be."""
    settings = load(monkeypatch, MAX_BODY_BYTES="", MAX_ROWS="", RATE_PER_SECOND="", EXPORT_TIMEOUT_SECONDS="")
    assert settings.max_body_bytes is None
    assert (settings.max_rows, settings.rate_per_second, settings.export_timeout_seconds) == (None, None, None)


def test_given_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is given goes before the environment, and that before the defaults."""
    monkeypatch.setenv(f"{PREFIX}PORT", "5000")
    assert (load_settings().port, load_settings(port="6000").port) == (5000, 6000)
    monkeypatch.delenv(f"{PREFIX}PORT")
    assert load_settings().port == 4001


def test_paths_are_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Paths become absolute, since the working directory changes later."""
    (tmp_path / "d.toml").touch()
    monkeypatch.chdir(tmp_path)
    settings = load(monkeypatch, DATASETS="d.toml", SPOOL_DIR=".")
    assert (settings.datasets, settings.spool_dir) == (tmp_path / "d.toml", tmp_path)


def test_fonts_are_a_list_of_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Fonts are separated by commas, relative ones absolute, and `#1` names a face of a collection."""
    monkeypatch.chdir(tmp_path)
    settings = load(monkeypatch, FONTS=" a.ttf, /fonts/b.ttc#1 ,,c/../d.otf")
    assert settings.fonts == (str(tmp_path / "a.ttf"), "/fonts/b.ttc#1", str(tmp_path / "d.otf"))


@pytest.mark.parametrize("value", ["", " ", ","])
def test_no_fonts(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """An empty list of fonts is none."""
    assert load(monkeypatch, FONTS=value).fonts == ()
    assert load_settings(fonts=value).fonts == ()


def test_logo_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The logo's path becomes absolute; an empty one is none."""
    monkeypatch.chdir(tmp_path)
    assert load(monkeypatch, LOGO="logo.png").logo == tmp_path / "logo.png"
    assert load(monkeypatch, LOGO="").logo is None


@pytest.mark.parametrize(("value", "seconds"), [("0", 0), ("1767621780", 1767621780), ("253402300799", 253402300799)])
def test_source_date_epoch(monkeypatch: pytest.MonkeyPatch, value: str, seconds: int) -> None:
    """The time of making comes from the one variable without the prefix."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", value)
    assert load_settings().source_date_epoch == seconds


@pytest.mark.parametrize("value", ["-1", "now", "1.5", "253402300800"])
def test_bad_source_date_epoch(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """A time that is none, or that no calendar has, is an error that names that variable."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", value)
    with pytest.raises(SettingsError, match=r"^SOURCE_DATE_EPOCH: .") as caught:
        load_settings()
    assert PREFIX not in str(caught.value)


def test_source_date_epoch_has_no_prefix() -> None:
    """With the prefix it is no setting."""
    with pytest.raises(SettingsError, match=f"^{PREFIX}SOURCE_DATE_EPOCH: no such setting"):
        load_settings({f"{PREFIX}SOURCE_DATE_EPOCH": "1"})


def test_no_source_date_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty one is none: the clock tells the time."""
    assert load_settings().source_date_epoch is None
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "")
    assert load_settings().source_date_epoch is None


def test_usable_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A default stands for each value that cannot be used, and every problem is told once."""
    for name, value in {"PORT": "x", "HOST": "0.0.0.0", "MAX_ROWS": "9", "DATASETS": "/no/such", "PROT": "1"}.items():  # noqa: S104
        monkeypatch.setenv(PREFIX + name, value)
    settings, problems = load_usable_settings(max_queue="y")
    assert (settings.port, settings.host, settings.max_rows, settings.datasets) == (4001, "127.0.0.1", 9, None)
    named = [problem.removeprefix(PREFIX).partition(":")[0] for problem in problems]
    assert named == ["PROT", "PORT", "DATASETS", "MAX_QUEUE", "ALLOW_ANONYMOUS"]


def test_all_is_usable() -> None:
    """Where nothing is wrong, nothing is told."""
    assert load_usable_settings(port="5000") == (load_settings(port="5000"), ())
