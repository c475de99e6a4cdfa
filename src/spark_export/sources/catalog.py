"""The datasets file: TOML that names what can be exported.

[databases]
book = "book.duckdb"                    # attached read-only

[datasets.flights]
description = "Flights by carrier"
sql = "SELECT * FROM read_parquet('flights.parquet') WHERE carrier = $carrier"

[datasets.flights.params.carrier]
type = "text"
default = "UA"

[datasets.fills]
engine = "postgres"
dsn_env = "TRADES_DSN"                  # the variable that holds the connection string
sql = "SELECT * FROM fills"

[datasets.orders]
engine = "arrow"                        # a folder or an object store of files
path = "s3://bucket/orders/"
partitioning = "hive"
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from spark_export.errors import SettingsError
from spark_export.settings import Strict, read_toml
from spark_export.sources.files import FileFormat
from spark_export.sources.parameters import Parameter, ParameterType

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}")
PARAMETER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")
"""What DuckDB takes after a `$`; names that begin with two underscores are the engine's own."""

BOUNDED = ("integer", "number", "decimal")
"""Types of parameters that may have a minimum and a maximum."""


SCHEMES = ("s3", "gs", "file")
BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]+")
KEYS_OF_STORES = {"region": ("s3",), "endpoint": ("s3", "gs"), "anonymous": ("s3", "gs")}


class ParameterConfig(Strict):
    """`[datasets.NAME.params.NAME]`."""

    type: ParameterType = "text"
    default: Any = None
    required: bool = False
    minimum: int | None = None
    maximum: int | None = None
    description: str = ""


class DatasetConfig(Strict):
    """`[datasets.NAME]`: what every engine has."""

    description: str = ""
    params: dict[str, ParameterConfig] = Field(default_factory=dict)

    def parameters(self) -> tuple[Parameter, ...]:
        """The dataset's parameters."""
        return tuple(Parameter(name=name, **config.model_dump()) for name, config in self.params.items())


class DuckdbConfig(DatasetConfig):
    """A dataset that the embedded engine runs."""

    engine: Literal["duckdb"] = "duckdb"
    sql: Annotated[str, Field(min_length=1)]
    database: str | None = None


class PostgresConfig(DatasetConfig):
    """A dataset that a PostgreSQL server runs."""

    engine: Literal["postgres"]
    dsn_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    sql: Annotated[str, Field(min_length=1)]
    timeout_seconds: Annotated[float | None, Field(gt=0)] = None


class ArrowConfig(DatasetConfig):
    """Files in a folder or an object store; `path` is a URL once the file is read."""

    engine: Literal["arrow"]
    path: Annotated[str, Field(min_length=1)]
    format: FileFormat = "parquet"
    partitioning: Literal["none", "hive"] = "none"
    types: dict[str, ParameterType] = Field(default_factory=dict)
    delimiter: Annotated[str, Field(pattern=r"^[^\r\n\"A-Za-z0-9]$")] = ","
    region: str | None = None
    endpoint: Annotated[str, Field(pattern=r"^https?://[^/]+/?$")] | None = None
    anonymous: bool = False

    def placed(self, folder: Path) -> ArrowConfig:
        """The same with a URL for a path that is relative to the folder."""
        return self if "://" in self.path else self.model_copy(update={"path": f"file://{folder / self.path}"})

    def iter_problems(self, where: str) -> Iterator[str]:
        """What is wrong with it."""
        scheme, _, rest = self.path.rpartition("://")
        yield from (f"{where}.path: {problem}" for problem in _iter_path_problems(scheme, rest))
        for key, schemes in KEYS_OF_STORES.items():
            if key in self.model_fields_set and scheme not in schemes:
                yield f"{where}.{key}: is for paths of {' and '.join(schemes)}"
        if "delimiter" in self.model_fields_set and self.format != "csv":
            yield f"{where}.delimiter: is for the format csv"
        if self.params:
            yield f"{where}.params: this engine takes none; a request filters by `where`"


def engine_of(config: Any) -> str:
    """The engine that a dataset names; the embedded one where it names none."""
    return str(config.get("engine", "duckdb")) if isinstance(config, dict) else str(getattr(config, "engine", "duckdb"))


AnyDataset = Annotated[
    Annotated[DuckdbConfig, Tag("duckdb")]
    | Annotated[PostgresConfig, Tag("postgres")]
    | Annotated[ArrowConfig, Tag("arrow")],
    Discriminator(engine_of, custom_error_type="engine", custom_error_message="must be duckdb, postgres or arrow"),
]


class DatasetsFile(Strict):
    """The whole file; paths in `databases` are absolute, those of datasets URLs."""

    databases: dict[str, Path] = Field(default_factory=dict)
    datasets: dict[str, AnyDataset] = Field(default_factory=dict)


def read_datasets_file(path: Path) -> DatasetsFile:
    """The file's datasets and databases.

    Raises:
        SettingsError: the file cannot be read, is no TOML, or a key in it cannot be used; the message names it.
    """
    parsed = read_toml(path, DatasetsFile)
    if problems := [f"{path.name}: {problem}" for problem in _iter_problems(parsed)]:
        raise SettingsError(*problems)
    databases = {alias: path.parent / file for alias, file in parsed.databases.items()}
    datasets = {
        name: config.placed(path.parent) if isinstance(config, ArrowConfig) else config
        for name, config in parsed.datasets.items()
    }
    return parsed.model_copy(update={"databases": databases, "datasets": datasets})


def _iter_problems(parsed: DatasetsFile) -> Iterator[str]:
    for alias in parsed.databases:
        if not PARAMETER_NAME.fullmatch(alias):
            yield f"databases.{alias}: an alias is letters, digits and underscores"
    for name, config in parsed.datasets.items():
        where = f"datasets.{name}"
        if not NAME.fullmatch(name):
            yield f"{where}: a name is letters, digits, `_`, `.` and `-`, and begins with a letter"
        if isinstance(config, ArrowConfig):
            yield from config.iter_problems(where)
        database = getattr(config, "database", None)
        if database is not None and database not in parsed.databases:
            yield f"{where}.database: no database {database!r} under [databases]"
        for parameter in config.parameters():
            yield from _iter_parameter_problems(f"{where}.params.{parameter.name}", parameter)


def _iter_path_problems(scheme: str, rest: str) -> Iterator[str]:
    """What is wrong with the path of files, in two parts."""
    if scheme not in ("", *SCHEMES):
        yield f"begins with {', '.join(f'{each}://' for each in SCHEMES)}, or is relative to this file's folder"
    elif scheme in KEYS_OF_STORES["endpoint"] and not BUCKET.fullmatch(rest.partition("/")[0]):
        yield f"{scheme}:// is followed by a bucket's name; credentials are the environment's"
    elif scheme == "file" and not rest.startswith("/"):
        yield "file:// is followed by an absolute path"
    elif scheme == "" and not _is_below(rest):
        yield "must be below this file's folder; file:// and an absolute path name what is not"


def _is_below(path: str) -> bool:
    """Whether a relative path stays below what it is relative to."""
    depths = accumulate(-1 if part == ".." else 1 for part in PurePosixPath(path).parts)
    return not path.startswith("/") and all(depth >= 0 for depth in depths)


def _iter_parameter_problems(where: str, parameter: Parameter) -> Iterator[str]:
    if not PARAMETER_NAME.fullmatch(parameter.name):
        yield f"{where}: a parameter's name is letters, digits and underscores"
    for bound in ("minimum", "maximum"):
        if getattr(parameter, bound) is not None and parameter.type not in BOUNDED:
            yield f"{where}.{bound}: a parameter of type {parameter.type} has no bounds"
    try:
        parameter.convert(parameter.default)
    except ValueError as error:
        yield f"{where}.default: {error}"
