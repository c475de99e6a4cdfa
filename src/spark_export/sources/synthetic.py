"""The built-in dataset `trades`: realistic, deterministic, of any length, so that the service does its job at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from spark_export.sources.base import ArrowQueries, Source, Table, open_iterator
from spark_export.sources.parameters import Parameter, bind
from spark_export.sources.selection import Selection

BLOCK_ROWS = 8192
"""Rows made at once; part of the data's definition, since each block has its own random stream."""
MOST_ROWS = 1_000_000_000
FIRST_TRADE_MICROSECONDS = 1_704_096_000_000_000  # 2024-01-01T08:00:00Z
MICROSECONDS_BETWEEN = 250_000

SYMBOLS = ("BTCUSDT", "ETHUSDT", "THYAO", "GARAN", "ASELS", "AAPL", "MSFT", "EURUSD", "USDTRY", "XAUUSD")
BASE_PRICES = np.array([64_000.0, 3_200.0, 290.5, 118.3, 61.75, 192.4, 415.1, 1.0842, 32.15, 2_330.0])
PRICE_PLACES = np.array([2, 2, 2, 2, 2, 2, 2, 5, 4, 2])
SIDES = ("buy", "sell")
STRATEGIES = ("market-making", "mean-reversion", "momentum", "pairs", "manual")
NOTES = (
    None,
    None,
    None,
    None,
    "",
    "partial fill",
    "filled at open, rest cancelled",
    "İstanbul masası: emir bölündü",
    "Müşteri isteği – fiyat güncellendi",
    'trader said "hold", then re-entered',
    "Перенос позиции",
    "Ρευστοποίηση θέσης",
    "Zamknięcie pozycji",
    "Đóng vị thế cuối ngày",
)

SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("ts", pa.timestamp("us", "UTC")),
        ("symbol", pa.dictionary(pa.int8(), pa.string())),
        ("side", pa.dictionary(pa.int8(), pa.string())),
        ("qty", pa.float64()),
        ("price", pa.float64()),
        ("notional", pa.float64()),
        ("fee", pa.float64()),
        ("strategy", pa.dictionary(pa.int8(), pa.string())),
        ("note", pa.dictionary(pa.int8(), pa.string())),
    ]
)


@dataclass(frozen=True)
class TradesDataset:
    """The dataset `trades`.

    Args:
        threads: where blocks are made.
        engine: filters and sorts.
    """

    threads: Executor
    engine: ArrowQueries
    name: str = "trades"
    description: str = "Synthetic trades: deterministic by seed, realistic, of any length."
    parameters: tuple[Parameter, ...] = (
        Parameter("rows", "integer", 10_000, minimum=0, maximum=MOST_ROWS, description="How many trades."),
        Parameter("seed", "integer", 1, minimum=0, maximum=2**63 - 1, description="Another seed, other trades."),
    )

    def table(self, params: Mapping[str, Any]) -> Table:
        """Trades for `rows` and `seed`."""
        bound = bind(self.parameters, {name: value for name, value in params.items() if value is not None})
        return _Trades(bound["rows"], bound["seed"], self.threads, self.engine)


@dataclass(frozen=True)
class _Trades:
    rows: int
    seed: int
    threads: Executor
    engine: ArrowQueries

    def open(self, selection: Selection) -> AbstractAsyncContextManager[Source]:
        """The selected trades."""
        batches = iter_trades(self.rows, self.seed)
        if selection.needs_engine:
            return self.engine.open_arrow(SCHEMA, batches, selection)
        return open_iterator(SCHEMA, batches, selection, self.rows, self.threads)


def iter_trades(rows: int, seed: int) -> Iterator[Any]:
    """Record batches of `SCHEMA`, `rows` rows in all; a trade depends on the seed and its place only."""
    for start in range(0, rows, BLOCK_ROWS):
        yield _block(start, seed).slice(0, min(BLOCK_ROWS, rows - start))


def _block(start: int, seed: int) -> Any:
    random = np.random.Generator(np.random.Philox(key=[seed, start // BLOCK_ROWS]))
    place = np.arange(start, start + BLOCK_ROWS)
    symbol = random.integers(0, len(SYMBOLS), BLOCK_ROWS)
    price = _prices(place, symbol, random)
    qty = np.round(np.exp(random.normal(0.0, 1.4, BLOCK_ROWS)) * 12, 4) + 0.0001
    qty = np.round(qty, 4)
    notional = np.round(qty * price, 2)
    ts = FIRST_TRADE_MICROSECONDS + place * MICROSECONDS_BETWEEN + random.integers(0, MICROSECONDS_BETWEEN, BLOCK_ROWS)
    return pa.record_batch(
        [
            pa.array(place + 1),
            pa.array(ts).cast(SCHEMA.field("ts").type),
            _choice(symbol, SYMBOLS),
            _choice(random.integers(0, len(SIDES), BLOCK_ROWS), SIDES),
            pa.array(qty),
            pa.array(price),
            pa.array(notional),
            pa.array(np.round(notional * 0.0004, 4)),
            _choice(random.integers(0, len(STRATEGIES), BLOCK_ROWS), STRATEGIES),
            _choice(random.integers(0, len(NOTES), BLOCK_ROWS), NOTES),
        ],
        schema=SCHEMA,
    )


def _prices(place: np.ndarray, symbol: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A slow swing, a faster one, and noise around each symbol's base price, at its number of places."""
    swing = 0.04 * np.sin(place / 9_000 + symbol) + 0.01 * np.sin(place / 400 + 2 * symbol)
    price = BASE_PRICES[symbol] * (1 + swing + random.normal(0.0, 0.0015, BLOCK_ROWS))
    power = 10.0 ** PRICE_PLACES[symbol]
    rounded: np.ndarray = np.rint(price * power) / power
    return rounded


def _choice(index: np.ndarray, names: tuple[str | None, ...]) -> Any:
    """Dictionary-encoded names; a name that is None is a missing value."""
    words = [name for name in names if name is not None]
    code = np.cumsum([name is not None for name in names]) - 1
    missing = np.array([name is None for name in names])[index]
    codes = pa.array(code[index].astype(np.int8), mask=missing)
    return pa.DictionaryArray.from_arrays(codes, pa.array(words, pa.string()))
