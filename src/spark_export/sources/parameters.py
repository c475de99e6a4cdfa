"""A dataset's parameters: typed, with a default or required, bound by name."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pydantic import TypeAdapter, ValidationError

from spark_export.errors import InvalidField
from spark_export.model import ValueType
from spark_export.text.encoder import name_some

ParameterType = ValueType

ADAPTERS: dict[str, TypeAdapter[Any]] = {
    "text": TypeAdapter(str),
    "integer": TypeAdapter(int),
    "number": TypeAdapter(float),
    "decimal": TypeAdapter(Decimal),
    "boolean": TypeAdapter(bool),
    "date": TypeAdapter(dt.date),
    "timestamp": TypeAdapter(dt.datetime),
}


@dataclass(frozen=True)
class Parameter:
    """One parameter of a dataset.

    Attributes:
        name: as it stands in the SQL after the `$`.
        type: of its values; a text is converted where it reads as one (`"5"` for an integer).
        default: its value where the request gives none.
        required: whether the request must give one.
        minimum, maximum: bounds, both included.
        description: for people.
    """

    name: str
    type: ParameterType
    default: Any = None
    required: bool = False
    minimum: int | None = None
    maximum: int | None = None
    description: str = ""

    def convert(self, value: Any) -> Any:
        """The value in the parameter's type.

        Raises:
            ValueError: it is none of the type, or out of bounds; the message says what would be right.
        """
        if value is None:
            return None
        if isinstance(value, bool) and self.type != "boolean":
            raise ValueError(f"takes a value of type {self.type}")
        try:
            converted = ADAPTERS[self.type].validate_python(value)
        except ValidationError:
            raise ValueError(f"takes a value of type {self.type}") from None
        if self.minimum is not None and converted < self.minimum:
            raise ValueError(f"is at least {self.minimum}")
        if self.maximum is not None and converted > self.maximum:
            raise ValueError(f"is at most {self.maximum}")
        return converted


def bind(parameters: Sequence[Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """A value for each parameter.

    Raises:
        InvalidField: a value is unknown, missing or of another type.
    """
    known = {parameter.name: parameter for parameter in parameters}
    for name in given:
        if name not in known:
            there_are = f"there are {name_some(list(known))}" if known else "it takes none"
            raise InvalidField(f"no parameter {name!r}; {there_are}", field=f"params.{name}")
    return {name: _value(parameter, given) for name, parameter in known.items()}


def _value(parameter: Parameter, given: Mapping[str, Any]) -> Any:
    path = f"params.{parameter.name}"
    if parameter.name not in given:
        if parameter.required:
            raise InvalidField(f"parameter {parameter.name!r} has no default; give a value", field=path)
        return parameter.convert(parameter.default)
    try:
        return parameter.convert(given[parameter.name])
    except ValueError as error:
        raise InvalidField(f"parameter {parameter.name!r} {error}", field=path) from None
