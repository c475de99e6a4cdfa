"""What the smoke scripts export: trades made here, or rows of a dataset."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

BASE_PRICES = {"BTCUSDT": 64_000.0, "ETHUSDT": 3_200.0, "THYAO": 290.5, "GARAN": 118.3, "AAPL": 192.4, "USDTRY": 32.15}
STRATEGIES = ("market-making", "mean-reversion", "momentum", "pairs", "manual")
NOTES = (
    None,
    None,
    "",
    "partial fill",
    "İstanbul masası: emir bölündü",
    'trader said "hold", then re-entered',
    "filled at open,\nrest cancelled",
    "Ρευστοποίηση θέσης",
)
FIRST_TRADE = datetime(2024, 1, 1, 8, tzinfo=UTC)
MILLISECONDS_BETWEEN = 250

UNITS = ((1_000_000, "M"), (1000, "k"), (1, ""))


@dataclass(frozen=True)
class Scenario:
    """What to export.

    Attributes:
        rows: how many; at most, where the dataset is not of a stated length.
        format: csv or pdf.
        dataset: its name; None for rows made here and sent in the body.
    """

    rows: int
    format: str
    dataset: str | None = None

    @property
    def name(self) -> str:
        """Such as `csv 10k of trades`."""
        size, unit = next(each for each in UNITS if self.rows % each[0] == 0)
        return f"{self.format} {self.rows // size}{unit} {'inline' if self.dataset is None else f'of {self.dataset}'}"

    @property
    def is_exact(self) -> bool:
        """Whether there are as many rows as asked for."""
        return self.dataset in {None, "trades"}

    def to_body(self) -> bytes:
        """The JSON request."""
        if self.dataset is None:
            source: dict[str, object] = {"rows": trading_rows(self.rows)}
        elif self.dataset == "trades":
            source = {"dataset": "trades", "params": {"rows": self.rows}}
        else:
            source = {"dataset": self.dataset, "limit": self.rows}
        return json.dumps({"format": self.format} | source, ensure_ascii=False).encode()


BATCH = (
    Scenario(1_000, "csv"),
    Scenario(10_000, "csv"),
    Scenario(50_000, "csv", "trades"),
    Scenario(1_000, "pdf"),
    Scenario(10_000, "pdf", "trades"),
)


def trading_rows(count: int) -> list[dict[str, Any]]:
    """Trades of a walk of prices, the same ones every time."""
    choice = random.Random(1)  # noqa: S311 - no secret
    prices = dict(BASE_PRICES)
    rows = []
    for place in range(count):
        symbol = choice.choice(tuple(prices))
        prices[symbol] *= 1 + choice.gauss(0, 0.0005)
        made_at = FIRST_TRADE + timedelta(milliseconds=MILLISECONDS_BETWEEN * place)
        qty, price = round(choice.lognormvariate(2.5, 1.4), 4), round(prices[symbol], 4)
        rows.append(
            {
                "id": f"TRD-{place + 1:07}",
                "ts": made_at.isoformat(timespec="milliseconds"),
                "symbol": symbol,
                "side": choice.choice(("buy", "sell")),
                "qty": qty,
                "price": price,
                "notional": round(qty * price, 2),
                "fee": round(qty * price * 0.0004, 4),
                "strategy": choice.choice(STRATEGIES),
                "note": choice.choice(NOTES),
            }
        )
    return rows
