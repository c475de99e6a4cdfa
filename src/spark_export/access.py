"""Who asks, and what each may see: API keys, of which only hashes are kept.

[keys.desk]
sha256 = "9f86d081…"                # of the key; or `key = "…"` itself
datasets = ["trades", "flights"]    # all unless given
max_rows = 100000                   # instead of MAX_ROWS
rate_per_second = 2                 # instead of RATE_PER_SECOND
rate_burst = 10

[keys.desk.columns]
trades = ["id", "ts", "symbol"]     # all of a dataset that is not named here
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, model_validator

from spark_export.admission.bucket import Rate
from spark_export.errors import Forbidden, SettingsError, Unauthorized
from spark_export.settings import Strict, read_toml

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,99}")
SECRET = re.compile(r"[!-~]+")
"""What a header field can carry: printable ASCII without spaces."""
SHA256 = re.compile(r"[0-9a-f]{64}")
HASHED = "sha256:"
"""Prefix of a key in API_KEYS that is given by its hash."""

DEFAULT_BURST = 20


@dataclass(frozen=True)
class Caller:
    """Who asks for an export, and within what bounds.

    Attributes:
        name: of the key, or the address where nobody needs a key.
        address: where the request came from.
        datasets: names that it may export; None for all.
        columns: of each dataset named here, those it may see; of the others all.
        max_rows: most rows of one export; None for the service's own bound.
        rate: its token bucket; None for the service's own.
    """

    name: str
    address: str = "local"
    datasets: frozenset[str] | None = None
    columns: Mapping[str, frozenset[str]] = field(default_factory=dict)
    max_rows: int | None = None
    rate: Rate | None = None

    def may_see(self, dataset: str) -> bool:
        """Whether the dataset is one of its own."""
        return self.datasets is None or dataset in self.datasets

    def check(self, dataset: str) -> None:
        """Refuse a dataset that is none of its own, whether or not there is one of that name.

        Raises:
            Forbidden: it is not.
        """
        if not self.may_see(dataset):
            raise Forbidden(f"this key may not export {dataset!r}; GET /datasets lists what it may", field="dataset")


class Keyring:
    """The callers by the hashes of their keys.

    Args:
        callers: by SHA-256 of the key.
    """

    def __init__(self, callers: Mapping[bytes, Caller]) -> None:
        self._callers = dict(callers)

    def caller_of(self, key: str, address: str) -> Caller:
        """Whose key it is.

        Raises:
            Unauthorized: nobody's.
        """
        given = hashlib.sha256(key.encode()).digest()
        # Every hash is compared, each in constant time: how long it takes tells nothing.
        found = [caller for known, caller in self._callers.items() if hmac.compare_digest(known, given)]
        if not found:
            raise Unauthorized("send a known key as `Authorization: Bearer …` or `X-API-Key`", field="Authorization")
        return replace(found[0], address=address)

    def named(self, name: str, address: str) -> Caller | None:
        """The caller of that name; None where it has no key any more."""
        found = next((caller for caller in self._callers.values() if caller.name == name), None)
        return None if found is None else replace(found, address=address)


class KeyConfig(Strict):
    """`[keys.NAME]`."""

    key: SecretStr | None = None
    sha256: Annotated[str, Field(pattern=f"^{SHA256.pattern}$")] | None = None
    datasets: tuple[str, ...] | None = None
    columns: dict[str, Annotated[tuple[str, ...], Field(min_length=1)]] = Field(default_factory=dict)
    max_rows: Annotated[int, Field(ge=1)] | None = None
    rate_per_second: Annotated[float, Field(gt=0)] | None = None
    rate_burst: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _is_told_once(self) -> Self:
        if (self.key is None) == (self.sha256 is None):
            raise ValueError("takes either key or sha256")
        if self.rate_burst is not None and self.rate_per_second is None:
            raise ValueError("rate_burst goes with rate_per_second")
        return self

    def hash(self) -> bytes:
        """SHA-256 of the key.

        Raises:
            ValueError: it cannot be a key; the text does not repeat it.
        """
        return hash_of(self.key.get_secret_value()) if self.key is not None else bytes.fromhex(self.sha256 or "")

    def caller(self, name: str) -> Caller:
        """The caller of that name."""
        rate = None
        if self.rate_per_second is not None:
            rate = Rate(self.rate_per_second, self.rate_burst or DEFAULT_BURST)
        return Caller(
            name=name,
            datasets=None if self.datasets is None else frozenset(self.datasets),
            columns={dataset: frozenset(names) for dataset, names in self.columns.items()},
            max_rows=self.max_rows,
            rate=rate,
        )


class _KeysFile(Strict):
    keys: Annotated[dict[str, KeyConfig], Field(min_length=1)]


def hash_of(key: str) -> bytes:
    """SHA-256 of a key, which may be given as `sha256:` and the hash itself.

    Raises:
        ValueError: it cannot be a key; the text does not repeat it.
    """
    if key.startswith(HASHED):
        if not SHA256.fullmatch(key.removeprefix(HASHED)):
            raise ValueError("a SHA-256 is 64 hexadecimal digits in lower case")
        return bytes.fromhex(key.removeprefix(HASHED))
    if not SECRET.fullmatch(key):
        raise ValueError("a key is printable ASCII without spaces")
    return hashlib.sha256(key.encode()).digest()


def load_keyring(
    keys: Mapping[str, SecretStr] | None, file: Path | None, datasets: Collection[str] | None
) -> Keyring | None:
    """The callers of API_KEYS and of the file together; None where neither is given.

    Args:
        keys: secret by name, without bounds.
        file: TOML with a table `keys`.
        datasets: names that a key may be given; None where they are not known.

    Raises:
        SettingsError: the file, or a key in it, cannot be used; every one is named.
    """
    if keys is None and file is None:
        return None
    configs = {name: KeyConfig(key=key) for name, key in (keys or {}).items()}
    given = _read_keys_file(file) if file is not None else {}
    twice = sorted(configs.keys() & given.keys())
    problems = [f"API_KEYS_FILE: keys.{name} is in API_KEYS as well" for name in twice]
    callers: dict[bytes, Caller] = {}
    for name, config in (configs | given).items():
        try:
            _add_caller(name, config, callers)
        except ValueError as error:
            problems.append(f"keys.{name}: {error}")
    if datasets is not None:
        problems += _iter_unknown_datasets(callers.values(), datasets)
    if problems:
        raise SettingsError(*problems)
    return Keyring(callers)


def _add_caller(name: str, config: KeyConfig, callers: dict[bytes, Caller]) -> None:
    hashed = config.hash()
    if hashed in callers:
        raise ValueError(f"the same key as {callers[hashed].name}")
    callers[hashed] = config.caller(name)


def _read_keys_file(path: Path) -> dict[str, KeyConfig]:
    keys = read_toml(path, _KeysFile).keys
    if not all(map(NAME.fullmatch, keys)):
        raise SettingsError(f"{path.name}: keys: a name is letters, digits, `_`, `.`, `@` and `-`")
    return keys


def _iter_unknown_datasets(callers: Iterable[Caller], known: Collection[str]) -> Iterator[str]:
    for caller in callers:
        for key, named in (("datasets", caller.datasets or ()), ("columns", caller.columns)):
            for dataset in sorted(named):
                if dataset not in known:
                    yield f"keys.{caller.name}.{key}: no dataset {dataset!r}"
