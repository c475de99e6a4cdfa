"""API keys: whose they are, and what is wrong with a file of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from pydantic import SecretStr

from spark_export.access import Caller, Keyring, load_keyring
from spark_export.admission.bucket import Rate
from spark_export.errors import Forbidden, SettingsError, Unauthorized

KNOWN = ("trades", "flights")
HASH = hashlib.sha256(b"key-of-risk").hexdigest()
FILE = f"""
[keys.desk]
key = "key-of-desk"
datasets = ["trades"]
max_rows = 1000
rate_per_second = 2
[keys.desk.columns]
trades = ["id", "ts"]
[keys.risk]
sha256 = "{HASH}"
rate_per_second = 0.5
rate_burst = 3
"""


def keyring_of(tmp_path: Path, text: str, keys: dict[str, SecretStr] | None = None) -> Keyring:
    """The keyring of a file with that text."""
    path = tmp_path / "keys.toml"
    path.write_text(text, encoding="utf-8")
    found = load_keyring(keys, path, KNOWN)
    assert found is not None
    return found


def test_a_key_names_its_caller(tmp_path: Path) -> None:
    """A key, given as it is or by its hash, leads to its caller with everything that the file says of it."""
    keyring = keyring_of(tmp_path, FILE, {"ops": SecretStr("key-of-ops")})
    desk = keyring.caller_of("key-of-desk", "10.0.0.1")
    columns = {"trades": frozenset({"id", "ts"})}
    assert desk == Caller("desk", "10.0.0.1", frozenset({"trades"}), columns, 1000, Rate(2, 20))
    assert keyring.caller_of("key-of-risk", "x") == Caller("risk", "x", rate=Rate(0.5, 3))
    assert keyring.caller_of("key-of-ops", "x") == Caller("ops", "x")


@pytest.mark.parametrize("key", ["", "key-of-des", "key-of-desk ", "KEY-OF-DESK", HASH, f"sha256:{HASH}", "é", "\0"])
def test_any_other_key_is_nobodys(tmp_path: Path, key: str) -> None:
    """Nothing but the key itself is let in; its hash is not."""
    with pytest.raises(Unauthorized):
        keyring_of(tmp_path, FILE).caller_of(key, "x")


def test_no_secret_is_kept(tmp_path: Path) -> None:
    """A keyring holds hashes: no key can be read from it."""
    keyring = keyring_of(tmp_path, FILE)
    assert "key-of" not in repr(vars(keyring))


def test_a_caller_may_see_its_own() -> None:
    """Outside its datasets a caller is refused, whether or not there is one of that name; without bounds never."""
    desk = Caller("desk", datasets=frozenset({"trades"}))
    desk.check("trades")
    for name in ("flights", "nothing"):
        with pytest.raises(Forbidden):
            desk.check(name)
    Caller("anyone").check("nothing")


def test_nobody_needs_a_key() -> None:
    """Without keys there is no keyring."""
    assert load_keyring(None, None, KNOWN) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "keys"),
        ("[keys]", "keys"),
        ("[keys.desk", "keys.toml"),
        ("[keys.desk]", "keys.desk: takes either key or sha256"),
        (f"[keys.desk]\nkey = 's3cret'\nsha256 = '{HASH}'", "keys.desk: takes either key or sha256"),
        ("[keys.desk]\nkey = 's3 cret'", "keys.desk: a key is printable ASCII"),
        ("[keys.desk]\nkey = 's3crét'", "keys.desk: a key is printable ASCII"),
        ("[keys.desk]\nkey = ''", "keys.desk: a key is printable ASCII"),
        ("[keys.desk]\nkey = 'sha256:s3cret'", "keys.desk: a SHA-256 is 64"),
        ("[keys.desk]\nsha256 = 's3cret'", "keys.desk.sha256"),
        ("[keys.'d\\nesk']\nkey = 's3cret'", "keys: a name"),
        ("[keys.desk]\nkey = 's3cret'\nmax_rows = 0", "keys.desk.max_rows"),
        ("[keys.desk]\nkey = 's3cret'\nrate_burst = 5", "rate_burst goes with rate_per_second"),
        ("[keys.desk]\nkey = 's3cret'\ndatasets = ['trade']", "keys.desk.datasets: no dataset 'trade'"),
        ("[keys.desk]\nkey = 's3cret'\ncolumns = {trade = ['a']}", "keys.desk.columns: no dataset 'trade'"),
        ("[keys.desk]\nkey = 's3cret'\ncolumns = {trades = []}", "keys.desk.columns.trades"),
        ("[keys.desk]\nkey = 's3cret'\ncolour = 'red'", "keys.desk.colour"),
        ("[keys.desk]\nkey = 's3cret'\n[keys.risk]\nkey = 's3cret'", "keys.risk: the same key as desk"),
        ("[keys.ops]\nkey = 's3cret'", "keys.ops is in API_KEYS as well"),
    ],
)
def test_a_bad_file_names_the_key(tmp_path: Path, text: str, message: str) -> None:
    """What cannot be used is named by its place in the file, and no secret is told."""
    with pytest.raises(SettingsError) as caught:
        keyring_of(tmp_path, text, {"ops": SecretStr("key-of-ops")})
    assert message in str(caught.value)
    assert "s3c" not in str(caught.value)


def test_all_bad_keys_are_named(tmp_path: Path) -> None:
    """Several mistakes are named at once; datasets that are not known are not looked for."""
    text = "[keys.desk]\nkey = 's3 cret'\n[keys.risk]\nkey = 's3cret'\ndatasets = ['trade']"
    with pytest.raises(SettingsError) as caught:
        keyring_of(tmp_path, text)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["keys.desk", "keys.risk.datasets"]
    with pytest.raises(SettingsError, match=r"^keys\.desk: [^;]*$"):
        load_keyring(None, tmp_path / "keys.toml", None)
