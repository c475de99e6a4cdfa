"""`spark-export print-config`: the settings as an environment file, such as `docker run --env-file` reads."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pydantic import SecretStr

from spark_export.settings import Settings, variable_of

HIDDEN = "***"


def config_lines(settings: Settings, flags: Collection[str]) -> Iterator[str]:
    """A line a setting, under a comment that says where they come from; one with a secret is a comment itself.

    Args:
        settings: all of them.
        flags: names of those that were given by flags.
    """
    set_names = settings.model_fields_set
    origins = {
        "by flags": [name for name in Settings.model_fields if name in flags],
        "by the environment": [name for name in Settings.model_fields if name in set_names and name not in flags],
        "by default": [name for name in Settings.model_fields if name not in set_names],
    }
    for origin, names in origins.items():
        if names:
            yield f"# {origin}"
            yield from (_line(name, getattr(settings, name)) for name in names)


def _line(name: str, value: Any) -> str:
    line = f"{variable_of(name)}={_text(value)}"
    # Read back, it would make the mark itself a key.
    return f"# {line}" if _is_secret(value) else line


def _is_secret(value: Any) -> bool:
    values = value.values() if isinstance(value, Mapping) else (value,)
    return any(isinstance(each, SecretStr) for each in values)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, SecretStr):
        return HIDDEN
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, Mapping):
        return ",".join(f"{name}={HIDDEN}" for name in value)
    return str(value)
