"""Settings: environment first, each variable with its unit in its name, a bad value stops the start.

None (an empty variable) means unlimited; 0 never does.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from spark_export.errors import SettingsError
from spark_export.memory import container_limit_bytes

PREFIX = "SPARK_EXPORT_"
SOURCE_DATE_EPOCH = "SOURCE_DATE_EPOCH"
"""The one variable without the prefix: https://reproducible-builds.org/specs/source-date-epoch/."""
MOST_EPOCH_SECONDS = 253_402_300_799
"""The end of the year 9999."""
MOST_FONTS = 100
"""A character's font is told by a byte."""
MIB = 2**20

KUBERNETES_SERVICE_LINK = re.compile(rf"{PREFIX}(SERVICE_(HOST|PORT\w*)|PORT_\d+_\w+)")
"""Kubernetes sets these in every pod beside a Service named spark-export."""
ROUNDS = 3
"""Of replacing what cannot be used: values, what they come to together, and the last one that finds nothing."""


class Strict(BaseModel):
    """A table of a configuration file, without room for a misspelt key."""

    model_config = ConfigDict(extra="forbid", frozen=True)


StrictModel = TypeVar("StrictModel", bound=Strict)


class Settings(BaseSettings):
    """All settings; each attribute is the variable that `variable_of` names."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_parse_none_str="", extra="forbid", frozen=True, populate_by_name=True
    )

    host: Annotated[str, Field(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="Port to listen on; 0 takes a free one.")] = 4001
    datasets: Annotated[Path | None, Field(description="TOML file of datasets; paths in it are relative to it.")] = None
    api_keys: Annotated[
        dict[str, SecretStr] | None,
        NoDecode,
        Field(description="`name=key,name=key`: who may export everything; a key may be `sha256:` and its hash."),
    ] = None
    api_keys_file: Annotated[
        Path | None, Field(description="TOML file of keys, each with its datasets, columns, row cap and rate.")
    ] = None
    allow_anonymous: Annotated[
        bool, Field(description="Serve anyone who reaches an address other than loopback, where there are no keys.")
    ] = False
    ops_host: Annotated[str | None, Field(description="Address of OPS_PORT; HOST unless given.")] = None
    ops_port: Annotated[
        int | None, Field(ge=0, le=65535, description="Port of metrics and health alone, which PORT then has not.")
    ] = None
    trusted_proxies: Annotated[
        str | None, Field(description="Addresses or networks, comma-separated, whose X-Forwarded-For is believed.")
    ] = None

    max_concurrent: Annotated[int, Field(ge=1, description="Exports that run at once.")] = 4
    max_queue: Annotated[int, Field(ge=0, description="Exports that may wait for a slot; more get 503.")] = 64
    queue_timeout_seconds: Annotated[float, Field(gt=0, description="Longest wait for a slot, then 503.")] = 30
    max_memory_bytes: Annotated[
        int | None,
        Field(ge=256 * MIB, description="Resident memory beyond which no export begins: it waits, or gets 503."),
    ] = Field(default_factory=container_limit_bytes)
    max_connections: Annotated[int, Field(ge=10, description="Open connections; more get 503 at once.")] = 2048
    rate_per_second: Annotated[
        float | None, Field(gt=0, description="Exports a caller may start each second; more get 429.")
    ] = None
    rate_burst: Annotated[int, Field(ge=1, description="Exports a caller may start at once before the rate holds.")] = (
        20
    )

    max_rows: Annotated[
        int | None, Field(ge=1, description="Most rows of one export; over it the export fails, or is cut if it asks.")
    ] = None
    max_body_bytes: Annotated[
        int | None, Field(ge=1, description="Largest JSON body, which is held in memory; over it 413.")
    ] = 64 * MIB
    max_upload_bytes: Annotated[
        int | None,
        Field(ge=1, description="Largest body that is rows, with and without its coding, spooled to SPOOL_DIR."),
    ] = 2048 * MIB
    export_timeout_seconds: Annotated[
        float | None, Field(gt=0, description="Longest time of one export, from its slot to its last byte.")
    ] = None
    min_client_bytes_per_second: Annotated[
        int | None, Field(ge=1, description="Least speed of a client; who is slower for 30 s is cut off.")
    ] = 500
    drain_seconds: Annotated[float, Field(gt=0, description="How long running exports may finish after SIGTERM.")] = 30
    receipts_kept: Annotated[
        int,
        Field(ge=1, description="Receipts of streams, and of each caller's past jobs; the oldest goes first."),
    ] = 10_000
    receipts_seconds: Annotated[float, Field(gt=0, description="How long a receipt is kept.")] = 86_400

    fonts: Annotated[
        tuple[str, ...],
        NoDecode,
        Field(
            max_length=MOST_FONTS,
            description="Font files for PDFs, comma-separated, tried in order after Noto Sans; `x.ttc#1`.",
        ),
    ] = ()
    logo: Annotated[Path | None, Field(description="PNG or SVG file in the title block of PDFs.")] = None
    source_date_epoch: Annotated[
        int | None,
        Field(
            ge=0,
            le=MOST_EPOCH_SECONDS,
            validation_alias=SOURCE_DATE_EPOCH,
            description="Time of making that PDFs state, in seconds since 1970; the clock's unless given. With "
            "it the same rows make the same bytes, a quarter slower.",
        ),
    ] = None

    duckdb_memory_bytes: Annotated[
        int, Field(ge=16 * MIB, description="Memory that all queries share; sorting spills to SPOOL_DIR beyond it.")
    ] = 512 * MIB
    duckdb_threads: Annotated[int, Field(ge=1, description="Threads that all queries share.")] = min(
        4, os.cpu_count() or 1
    )
    kernel_threads: Annotated[int, Field(ge=1, description="Threads that format batches.")] = min(
        4, os.cpu_count() or 1
    )
    spool_dir: Annotated[Path, Field(description="Folder for temporary files, and for jobs and their files.")] = Path(
        tempfile.gettempdir()
    )
    spool_max_bytes: Annotated[
        int | None, Field(ge=MIB, description="Files of jobs that are kept; the oldest finished ones give way to new.")
    ] = 10 * 1024 * MIB
    max_jobs: Annotated[int, Field(ge=2, description="Jobs that may wait, of one caller half; more get 503.")] = 1000
    job_ttl_seconds: Annotated[
        float, Field(gt=0, description="How long a job's file, and its Idempotency-Key, are kept after its end.")
    ] = 86_400
    callback_secret: Annotated[
        SecretStr | None,
        Field(description="`whsec_` and base64, signs callbacks; two, comma-separated, while one replaces the other."),
    ] = None
    callback_secret_file: Annotated[Path | None, Field(description="File that holds CALLBACK_SECRET.")] = None
    callback_allow: Annotated[
        tuple[str, ...],
        NoDecode,
        Field(description="Networks that callbacks may reach though they are not public: `10.0.0.0/8,127.0.0.1`."),
    ] = ()
    deliver_allow: Annotated[
        tuple[str, ...],
        NoDecode,
        Field(description="Where files may be delivered: `s3://bucket/exports/,https://host/path/`."),
    ] = ()

    log_format: Annotated[Literal["text", "json"], Field(description="Form of the log lines on standard error.")] = (
        "text"
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Field(description="Least level logged.")] = (
        "info"
    )

    @field_validator("port", mode="before")
    @classmethod
    def _port_is_no_service_link(cls, value: Any) -> Any:
        """Kubernetes sets `SPARK_EXPORT_PORT=tcp://…` in every pod beside a Service named spark-export: no setting."""
        service_link = isinstance(value, str) and value.startswith("tcp://")
        return cls.model_fields["port"].default if service_link else value

    @field_validator("datasets", "api_keys_file", "callback_secret_file")
    @classmethod
    def _is_a_file(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_file():
            raise ValueError(f"no file {str(path)!r}")
        return path.resolve() if path is not None else None

    @field_validator("fonts", mode="before")
    @classmethod
    def _split_fonts(cls, value: Any) -> Any:
        paths = [path.strip() for path in value.split(",")] if isinstance(value, str) else value or ()
        return tuple(os.path.abspath(path) for path in paths if path)  # noqa: PTH100  keeps `#1`, resolves no link

    @field_validator("callback_secret_file")
    @classmethod
    def _secret_is_told_once(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if path is not None and info.data.get("callback_secret") is not None:
            raise ValueError("give CALLBACK_SECRET or CALLBACK_SECRET_FILE, not both")
        return path

    @field_validator("callback_allow", "deliver_allow", mode="before")
    @classmethod
    def _split_list(cls, value: Any) -> Any:
        return [each.strip() for each in value.split(",") if each.strip()] if isinstance(value, str) else value or ()

    @field_validator("callback_allow")
    @classmethod
    def _are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(ipaddress.ip_network(each)) for each in networks)

    @field_validator("logo")
    @classmethod
    def _logo_is_absolute(cls, path: Path | None) -> Path | None:
        return path.resolve() if path is not None else None

    @field_validator("spool_dir")
    @classmethod
    def _spool_dir_is_writable(cls, path: Path) -> Path:
        if not path.is_dir() or not os.access(path, os.W_OK):
            raise ValueError(f"{str(path)!r} is no folder that can be written to")
        return path.resolve()

    @field_validator("api_keys", mode="before")
    @classmethod
    def _split_api_keys(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        pairs = [pair.strip().partition("=") for pair in value.split(",") if pair.strip()]
        # The message must not repeat the value: it is a secret.
        if (
            not pairs
            or not all(name and key for name, _, key in pairs)
            or len({name for name, _, _ in pairs}) < len(pairs)
        ):
            raise ValueError("must read name=key,name=key with different names")
        return {name.strip(): key for name, _, key in pairs}

    @model_validator(mode="after")
    def _nobody_comes_in_unasked(self) -> Self:
        """Whoever serves everyone on every network has said so."""
        if self.has_keys or self.allow_anonymous or is_loopback(self.host):
            return self
        raise ValueError(
            f"HOST {self.host} can be reached from elsewhere: give API_KEYS, or ALLOW_ANONYMOUS=true to serve anyone"
        )

    @property
    def has_keys(self) -> bool:
        """Whether a caller needs a key."""
        return self.api_keys is not None or self.api_keys_file is not None


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_toml(path: Path, model: type[StrictModel]) -> StrictModel:
    """A configuration file.

    Raises:
        SettingsError: it cannot be read, is no TOML, or a key in it cannot be used; the message names the key, and no
            value, which may be a secret.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return model.model_validate(table)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path.name}: {error}") from None
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        problems = [f"{path.name}: {_key_of(each, table)}: {_message(each['msg'])}" for each in found]
        raise SettingsError(*problems) from None


def _key_of(error: ErrorDetails, table: Any) -> str:
    """The key that an error is about, without the kind of table that pydantic puts before a key of such a one."""
    path = []
    *parts, last = error["loc"]
    for part in parts:
        if isinstance(table, dict) and part not in table:
            continue
        path.append(part)
        table = table[part]
    if isinstance(table, dict | list):
        path.append(last)
    if error["type"] == "engine":  # an error of the whole table, for what it says there
        path.append("engine")
    return ".".join(map(str, path))


def load_settings(environment: Mapping[str, str] | None = None, **given: Any) -> Settings:
    """Settings from the environment, with `given` before it.

    Raises:
        SettingsError: a value cannot be used, or a variable with the prefix is none of the settings.
    """
    problems = _unknown_variables(os.environ if environment is None else environment)
    try:
        settings = Settings(**given)
    except ValidationError as error:
        raise SettingsError(*problems, *_problems(error)) from None
    if problems:
        raise SettingsError(*problems)
    return settings


def load_usable_settings(**given: Any) -> tuple[Settings, tuple[str, ...]]:
    """The settings, a default for each value that cannot be used, and what is wrong with those.

    Raises:
        SettingsError: not even a default can be used.
    """
    try:
        return load_settings(**given), ()
    except SettingsError as error:
        problems = list(error.problems)
    for _ in range(ROUNDS):
        try:
            return Settings(**given), tuple(dict.fromkeys(problems))
        except ValidationError as error:
            problems += _problems(error)
            given |= {name: Settings.model_fields[name].get_default(call_default_factory=True) for name in _bad(error)}
    raise SettingsError(*dict.fromkeys(problems))


def _unknown_variables(environment: Mapping[str, str]) -> list[str]:
    known = {variable_of(name) for name in Settings.model_fields}
    unknown = [each for each in environment if each.startswith(PREFIX) and each not in known]
    there_are = ", ".join(sorted(known))
    return [
        f"{variable}: no such setting; there are {there_are}"
        for variable in unknown
        if not KUBERNETES_SERVICE_LINK.fullmatch(variable)
    ]


def variable_of(name: str) -> str:
    """The environment variable of a setting."""
    return SOURCE_DATE_EPOCH if name.upper() == SOURCE_DATE_EPOCH else PREFIX + name.upper()


def _problems(error: ValidationError) -> list[str]:
    found = []
    for each in error.errors(include_input=False, include_url=False):
        name = variable_of(str(each["loc"][0])) if each["loc"] else variable_of("allow_anonymous")
        found.append(f"{name}: {_message(each['msg'])}")
    return found


def _bad(error: ValidationError) -> set[str]:
    """Names of the settings that cannot be used; the host where it takes keys that nobody gave."""
    return {str(each["loc"][0]).lower() if each["loc"] else "host" for each in error.errors()}


def _message(text: str) -> str:
    return text.removeprefix("Value error, ")
