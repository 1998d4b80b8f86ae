"""What storage costs: a price table that an operator may replace, and exact arithmetic over it."""

from perennial.cost.estimates import (
    MoveCost,
    Objects,
    RestoreCost,
    count_objects,
    early_removal_cost,
    move_cost,
    restore_cost,
    storage_cost,
)
from perennial.cost.prices import SHIPPED_PRICES, STANDARD, ClassPrice, PriceTable, ThawPrice, read_prices
from perennial.cost.texts import Fact, money, move_facts, payback

__all__ = [
    "SHIPPED_PRICES",
    "STANDARD",
    "ClassPrice",
    "Fact",
    "MoveCost",
    "Objects",
    "PriceTable",
    "RestoreCost",
    "ThawPrice",
    "count_objects",
    "early_removal_cost",
    "money",
    "move_cost",
    "move_facts",
    "payback",
    "read_prices",
    "restore_cost",
    "storage_cost",
]
