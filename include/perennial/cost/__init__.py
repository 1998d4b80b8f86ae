"""Cost of storage: a price table that an operator may replace, and the calculations from it."""

from perennial.cost.estimates import GB, Objects, count_objects, move_cost, restore_cost
from perennial.cost.prices import STANDARD, PriceTable, read_prices
from perennial.cost.texts import Fact, money, move_facts, signed_money

__all__ = [
    "GB",
    "STANDARD",
    "Fact",
    "Objects",
    "PriceTable",
    "count_objects",
    "money",
    "move_cost",
    "move_facts",
    "read_prices",
    "restore_cost",
    "signed_money",
]
