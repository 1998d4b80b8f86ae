"""Spark, through Spark Connect; Sail runs what is written here too."""

from __future__ import annotations

from sqlglot import exp

from perennial.engines.dialects import LAYER, Dialect, hashed, microseconds, months_added, not_materialized
from perennial.engines.dialects.meanings import (
    DAYS,
    MICROSECONDS,
    boundaries,
    call,
    day_of,
    day_of_week,
    in_zone,
    is_aware,
    is_utc,
    no_braces,
    number,
    refused,
    to_the_even,
    whole_of,
)


def _add_months(node: exp.Expr) -> exp.Expr:
    # add_months() returns a date and loses the time of day.
    added = months_added(node)
    if added is None:
        return node
    moment, count = added
    return exp.Add(this=moment, expression=exp.func("make_ym_interval", exp.Literal.number(0), count))


def _count_microseconds(node: exp.Expr) -> exp.Expr:
    moment = microseconds(node)
    return node if moment is None else exp.func("unix_micros", moment)


def _hash_rows(node: exp.Expr) -> exp.Expr:
    # It has another hash, which passes over nulls: without saying where they are, a value could change its column.
    columns = hashed(node)
    if columns is None:
        return node
    told = [part for column in columns for part in (column, exp.Is(this=column.copy(), expression=exp.Null()))]
    return exp.Sum(this=exp.cast(exp.Anonymous(this="xxhash64", expressions=told), "DECIMAL(38, 0)"))


def _choose_by_group(node: exp.Expr) -> exp.Expr:
    # Without MATERIALIZED a condition on the last of many layers is pushed into all of them, and doubles in each: Sail
    # takes a minute to plan sixteen. Nothing is pushed through a group, and a group here is one user. Of an analyst's
    # own MATERIALIZED nobody knows what a row is, and equal rows would become one.
    if not isinstance(node, exp.Select) or not node.args.get("where"):
        return node
    layers = {cte.alias for cte in node.ctes if cte.alias.startswith(LAYER)}
    if not layers or node.args["from_"].this.name not in layers:
        return node
    condition = node.args["where"].this
    node.set("where", None)
    return node.group_by(*(projection.unalias().copy() for projection in node.selects)).having(
        exp.func("bool_or", condition)
    )


def _day_of_week(node: exp.Expr) -> exp.Expr:
    # Sunday is 1 there; Sail's weekday() has no Sunday.
    found = day_of_week(node)
    if found is None:
        return node
    moment, iso = found
    sunday_1 = call("dayofweek", day_of(moment))
    if not iso:
        return exp.paren(exp.Sub(this=sunday_1, expression=number(1)))
    since_monday = exp.Mod(this=exp.paren(exp.Add(this=sunday_1, expression=number(5))), expression=number(7))
    return exp.paren(exp.Add(this=since_monday, expression=number(1)))


def _date_diff(node: exp.Expr) -> exp.Expr:
    found = boundaries(node, ("MICROSECOND",))
    if found is None:
        return node
    unit, start, end = found
    if unit in ("DAY", "WEEK"):
        days = call("datediff", day_of(end), day_of(start))
        return _long(days if unit == "DAY" else exp.IntDiv(this=days, expression=number(7)))
    counted = exp.paren(exp.Sub(this=_since_epoch(unit, end), expression=_since_epoch(unit, start)))
    step = MICROSECONDS.get(unit, 1)
    return _long(counted if step == 1 else exp.IntDiv(this=counted, expression=number(step)))


def _since_epoch(unit: str, moment: exp.Expr) -> exp.Expr:
    """Count a unit, or the microseconds until it began."""
    if unit not in DAYS:
        instant = exp.cast(moment.copy(), "TIMESTAMPTZ")
        return call("unix_micros", call("date_trunc", exp.Literal.string(unit), instant))
    year, steps = call("year", day_of(moment)), {"MONTH": 12, "QUARTER": 4}.get(unit)
    if steps is None:
        return year
    return exp.paren(
        exp.Add(this=exp.Mul(this=year, expression=number(steps)), expression=call(unit.lower(), day_of(moment)))
    )


def _long(value: exp.Expr) -> exp.Expr:
    return exp.cast(value, "BIGINT")


def _at_time_zone(node: exp.Expr) -> exp.Expr:
    # from_utc_timestamp() moves an instant; what DuckDB returns is a time without a zone, and the other way round.
    if not isinstance(node, exp.AtTimeZone):
        return node
    zone = node.args["zone"]
    if is_aware(node):
        return _local(node.this, zone)
    local = exp.cast(node.this.copy(), "TIMESTAMP", dialect="duckdb")
    instant = exp.cast(node.this.copy(), "TIMESTAMPTZ")
    first = instant if is_utc(zone) else call("to_utc_timestamp", instant, zone)
    return in_zone(zone, first, local, lambda moment: _local(moment, zone))


def _local(instant: exp.Expr, zone: exp.Expr) -> exp.Expr:
    shown = instant.copy() if is_utc(zone) else call("from_utc_timestamp", instant, zone)
    return exp.cast(shown, "TIMESTAMP", dialect="duckdb")


def _round(node: exp.Expr) -> exp.Expr:
    value = whole_of(node)
    if value is not None:
        node.set("this", to_the_even(value))
    return node


def _list(node: exp.Expr) -> exp.Expr:
    """Write list() and array_agg() with their order and their nulls, which collect_list() leaves out."""
    filtered = node if isinstance(node, exp.Filter) and isinstance(node.this, exp.ArrayAgg) else None
    found = filtered.this if filtered else node
    if not isinstance(found, exp.ArrayAgg) or (not filtered and isinstance(node.parent, exp.Filter)):
        return node
    if isinstance(node.parent, exp.Window):
        raise refused(found, "a list over a window leaves out nulls there", "string_agg() or a GROUP BY")
    value = found.this
    order = value.expressions if isinstance(value, exp.Order) else []
    value = value.this if isinstance(value, exp.Order) else value
    distinct = isinstance(value, exp.Distinct)
    value = value.expressions[0] if distinct else value
    if len({bool(key.args.get("desc")) for key in order}) > 1:
        raise refused(found, "a list has one direction of order there", "keys that are all ASC or all DESC")
    fields: list[exp.Expr] = []
    for position, key in enumerate(order):
        # Sorted as structs are: a field after the other, and nulls where the field before puts them.
        is_null: exp.Expr = exp.Is(this=key.this.copy(), expression=exp.null())
        last = bool(key.args.get("nulls_first")) == bool(key.args.get("desc"))
        fields += [exp.Literal.string(f"n{position}"), exp.paren(is_null if last else exp.not_(exp.paren(is_null)))]
        fields += [exp.Literal.string(f"k{position}"), key.this.copy()]
    struct = call("named_struct", *fields, exp.Literal.string("v"), value)
    collected: exp.Expr = exp.Anonymous(
        this="collect_list", expressions=[exp.Distinct(expressions=[struct]) if distinct else struct]
    )
    if filtered:
        collected = exp.Filter(this=collected, expression=filtered.expression.copy())
    # Of no rows at all there is no list.
    some: exp.Expr = exp.case().when(exp.GT(this=call("size", collected), expression=number(0)), collected.copy())
    if order:
        some = call("sort_array", some, exp.false() if order[0].args.get("desc") else exp.true())
    each = exp.Lambda(this=exp.column("v", table="x"), expressions=[exp.to_identifier("x")])
    return exp.Anonymous(this="transform", expressions=[some, each])


def _like(node: exp.Expr) -> exp.Expr:
    # A backslash escapes there, and nothing does in DuckDB unless ESCAPE says so.
    if not isinstance(node, exp.Like | exp.ILike) or isinstance(node.parent, exp.Escape):
        return node
    pattern = node.expression
    listed = pattern.this if isinstance(pattern, exp.Any | exp.All) else None
    for found in listed.expressions if isinstance(listed, exp.Tuple) else [pattern]:
        if not isinstance(found, exp.Literal):
            found.replace(call("replace", found, exp.Literal.string("\\"), exp.Literal.string("\\\\")))
        elif "\\" in found.name:
            found.replace(exp.Literal.string(found.name.replace("\\", "\\\\")))
    return node


def _names(node: exp.Expr) -> exp.Expr:
    # Its own have three letters.
    if isinstance(node, exp.Monthname | exp.Dayname):
        letters = "MMMM" if isinstance(node, exp.Monthname) else "EEEE"
        return call("date_format", node.this, exp.Literal.string(letters))
    return node


def _json(node: exp.Expr) -> exp.Expr:
    # get_json_object() takes the quotes off a text.
    if isinstance(node, exp.JSONExtract) and not isinstance(node.parent, exp.JSONExtract | exp.JSONExtractScalar):
        raise refused(node, "-> is a text without its quotes there", "->>")
    return node


SPARK = Dialect(
    "spark",
    (
        # Before there are casts that are not the statement's own.
        _round,
        _choose_by_group,
        not_materialized,
        no_braces,
        _json,
        _add_months,
        _count_microseconds,
        _hash_rows,
        _day_of_week,
        _date_diff,
        _at_time_zone,
        _list,
        _like,
        _names,
    ),
)
