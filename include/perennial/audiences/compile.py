"""Compiles a resolved audience to one SQL statement in DuckDB's dialect, with every value as a bind.

One pass over the interactions and one over the summaries evaluate all filters of a definition and of its segments: each
filter becomes a column of flags per user, and the definition a condition over these columns.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from textwrap import indent
from typing import Any

from perennial.audiences.definitions import TerminalDefinitionError
from perennial.audiences.filters import (
    EXCLUDE_SUSPECTED_BOTS,
    FILTERS,
    INTERACTION_VALUES,
    Filter,
    FilterGroup,
    InteractionMatch,
    SummaryMatch,
    timestamp,
)
from perennial.audiences.resolve import ResolvedAudience
from perennial.engines.dialects import LAYER
from perennial.statements import statement
from perennial.tables import SOURCE_TAGS, SOURCES, USER_MESSAGE_SUMMARY, USERS, VANISHED_SOURCES

INTERACTIONS_VIEW = "available_interactions"
# Maximum number of different filters of a definition and all its segments: more take engines minutes to plan.
QUESTION_LIMIT = 5_000
_TAG_SOURCES = "\n".join(
    line for line in statement("audiences/select_tag_sources").splitlines() if not line.startswith("--")
)
_COMPARISONS = {"more_than": ">", "less_than": "<", "exactly": "="}
_SIDES = {"before": "<", "after": ">"}


@dataclass(frozen=True)
class AudienceQuery:
    """The statement that selects an audience.

    Attributes:
        sql: Selects user_id, each user once, in no order. Reads `available_interactions` and `tables`.
        binds: Its values by name.
        tables: The tables of the contract that it reads.
    """

    sql: str
    binds: dict[str, Any]
    tables: tuple[str, ...]

    @property
    def count_sql(self) -> str:
        """The statement that counts the users instead."""
        return f"SELECT count(*) AS user_count FROM (\n{self.sql}\n) AS audience"


def compile_audience(audience: ResolvedAudience, now: datetime) -> AudienceQuery:
    """Compile an audience to a statement.

    Args:
        audience: Without problems.
        now: The moment from which `days_ago` is counted.

    Raises:
        TerminalDefinitionError: The definition is too large.
    """
    building = _Statement(now)
    for layer in audience.layers:
        building.add_segments({segment_id: audience.segments[segment_id].root for segment_id in layer})
    condition = building.condition(audience.definition.root)
    return building.finished(["user_id"], condition)


def compile_impact(
    audiences: Sequence[ResolvedAudience], without: Collection[str], now: datetime, sampled: float = 1
) -> AudienceQuery:
    """Write one statement that counts the users of several audiences, with and without the interactions of sources.

    Args:
        audiences: Without problems.
        without: The sources.
        now: What `days_ago` is counted from.
        sampled: The share of users that are looked at; less than 1 in DuckDB only.

    Returns:
        Selects one row: of the first audience now_1 (users now), after_1 (users without them), lost_1 and gained_1;
        and so on.

    Raises:
        TerminalDefinitionError: Together they are too large.
    """
    building = _Statement(now, frozenset(without))
    depth = max((len(audience.layers) for audience in audiences), default=0)
    for level in range(depth):
        # A segment is as deep in every audience.
        used = {
            name: found.segments[name].root
            for found in audiences
            if level < len(found.layers)
            for name in found.layers[level]
        }
        building.add_segments(used)
    counted = []
    for number, audience in enumerate(audiences, start=1):
        present = building.condition(audience.definition.root)
        absent = building.reduced(audience.definition.root)
        chosen = {"now": present, "after": absent}
        chosen |= {"lost": f"({present} AND NOT {absent})", "gained": f"({absent} AND NOT {present})"}
        counted += [f"sum(CASE WHEN {test} THEN 1 ELSE 0 END) AS {name}_{number}" for name, test in chosen.items()]
    return building.finished(counted, _sample(sampled))


def _sample(share: float) -> str:
    return "TRUE" if share >= 1 else f"hash(user_id) % 1000000 < {round(share * 1_000_000)}"


@dataclass
class _Flags:
    """Columns of flags over one relation, one for each different expression."""

    prefix: str
    columns: dict[str, str] = field(default_factory=dict)

    def column(self, expression: str) -> str:
        """Return the column of an expression; equal expressions share one column."""
        return self.columns.setdefault(expression, f"{self.prefix}_{len(self.columns) + 1}")

    def selected(self) -> list[str]:
        return [f"{expression} AS {name}" for expression, name in self.columns.items()]


class _Statement:
    """A statement under construction.

    Attributes:
        without: Sources whose interactions `reduced` leaves out.
        reducing: Whether they are being left out.
    """

    def __init__(self, now: datetime, without: frozenset[str] = frozenset()) -> None:
        self.now = now
        self.without = without
        self.reducing = False
        self.names: dict[tuple[type, Any], str] = {}
        self.interactions, self.summaries, self.users = _Flags("interaction"), _Flags("summary"), _Flags("profile")
        self.kinds: dict[str, None] = {}
        self.measures: dict[str, None] = {}
        self.sources: dict[str, None] = {}
        self.tags: dict[tuple[str, bool], str] = {}
        self.segments: dict[tuple[str, bool], str] = {}
        self.layers: list[list[str]] = []
        self.questions: set[str] = set()

    # --- conditions over flags -------------------------------------------------------------------------------------

    def condition(self, node: dict[str, Any]) -> str:
        """Compile a node to a condition over the columns of flags, which is never null."""
        if "filter" in node:
            question = self._filter(FILTERS[node["filter"]], node)
            self.questions.add(question)
            self._refuse_too_many()
            return question
        if "not" in node:
            return self._negated(node["not"])
        ((branch, children),) = node.items()
        # Equal conditions are joined into one; the tree of the others is balanced, because parsers have a depth limit.
        conditions = list(dict.fromkeys(self.condition(child) for child in children))
        return _balanced(branch.upper(), conditions) if conditions else ("TRUE" if branch == "and" else "FALSE")

    def reduced(self, node: dict[str, Any]) -> str:
        """Write the same condition as it is without the interactions of the sources in `without`."""
        self.reducing = True
        condition = self.condition(node)
        self.reducing = False
        return condition

    def add_segments(self, layer: dict[str, dict[str, Any]]) -> None:
        """Make each segment a column of its layer, so that it is computed once however often it is used."""
        columns = []
        for segment_id, root in layer.items():
            conditions = {False: self.condition(root)}
            if self.without:
                conditions[True] = self.reduced(root)
            for reducing, condition in conditions.items():
                name = self.segments[segment_id, reducing] = f"segment_{len(self.segments) + 1}"
                columns.append(f"{condition} AS {name}")
        self.layers.append(columns)

    def _refuse_too_many(self) -> None:
        if len(self.questions) > QUESTION_LIMIT:
            raise TerminalDefinitionError(
                "$", f"has more than {QUESTION_LIMIT:,} different filters, those of its segments counted; use fewer."
            )

    def _negated(self, child: dict[str, Any]) -> str:
        selected = self.condition(child)
        declared = FILTERS.get(child.get("filter", ""))
        if declared is None or declared.negated_within == "users":
            return f"NOT {selected}"
        entered = self._found(self.interactions.column(self._present(declared, child, InteractionMatch("entered"))))
        return f"({entered} AND NOT {selected})"

    def _filter(self, declared: Filter, node: dict[str, Any]) -> str:
        if declared.group is FilterGroup.SEGMENT:
            return self.segments[node["segment_id"], self.reducing]
        if declared.user_column is not None:
            return self.users.column(self._of_user(declared.user_column, node))
        if declared.summary is not None:
            return self._of_summary(declared, declared.summary, node)
        match = declared.interactions or InteractionMatch()
        if declared.latest:
            return self._compared(self.interactions.column(self._latest_match(declared, node, match)), node)
        return self._found(self.interactions.column(self._present(declared, node, match)))

    def _of_user(self, column: str, node: dict[str, Any]) -> str:
        if column == "feature_flags":
            return f"list_contains(users.feature_flags, {self._bind(node['flag'])})"
        return f"users.{column}"

    def _of_summary(self, declared: Filter, match: SummaryMatch, node: dict[str, Any]) -> str:
        self.measures.setdefault(match.measure)
        conditions = [f"measure = {self._bind(match.measure)}"]
        named = next((node[p.name] for p in declared.parameters if p.column == "dimension"), match.dimension)
        if named is not None:
            conditions.append(f"dimension = {self._bind(named)}")
        condition = " AND ".join(conditions)
        if declared.latest:
            return self._compared(self.summaries.column(f"max(CASE WHEN {condition} THEN last_at END)"), node)
        if "comparison" in node:
            counted = self.summaries.column(f"sum(CASE WHEN {condition} THEN event_count END)")
            return f"(COALESCE({counted}, 0) {_COMPARISONS[node['comparison']]} {self._bind(node['count'])})"
        found = self._found(self.summaries.column(f"bool_or({condition})"))
        return f"NOT {found}" if declared.absent else found

    @staticmethod
    def _found(column: str) -> str:
        # Users without a row in the relation have no flag.
        return f"COALESCE({column}, FALSE)"

    def _compared(self, column: str, node: dict[str, Any]) -> str:
        moment = timestamp(node["at"]) if "at" in node else self._days_ago(node["days_ago"])
        return f"COALESCE({column} {_SIDES[node['operator']]} {self._bind(moment)}, FALSE)"

    def _days_ago(self, days: int) -> datetime:
        try:
            return self.now - timedelta(days=days)
        except OverflowError:
            # Nothing can have happened before the earliest possible time.
            return datetime.min.replace(tzinfo=UTC)

    # --- conditions over interactions -------------------------------------------------------------------------------

    def _present(self, declared: Filter, node: dict[str, Any], match: InteractionMatch) -> str:
        # The source comes first and by itself, so that engines evaluate the rest for its rows only.
        return f"bool_or(CASE WHEN {self._source(declared, node)} THEN {self._matches(declared, node, match)} END)"

    def _latest_match(self, declared: Filter, node: dict[str, Any], match: InteractionMatch) -> str:
        matches = self._matches(declared, node, match)
        return f"max(CASE WHEN {self._source(declared, node)} AND {matches} THEN occurred_at END)"

    def _source(self, declared: Filter, node: dict[str, Any]) -> str:
        if declared.group is FilterGroup.TAG:
            return f"tag_sources.{self.tags.setdefault((node['tag'], self.reducing), f'tag_{len(self.tags) + 1}')}"
        source_id = node["campaign_id" if declared.source_kind == "campaign" else "canvas_id"]
        if self.reducing and source_id in self.without:
            return "FALSE"
        self.sources.setdefault(source_id)
        return f"seen.source_id = {self._bind(source_id)}"

    def _matches(self, declared: Filter, node: dict[str, Any], match: InteractionMatch) -> str:
        conditions = []
        value = INTERACTION_VALUES.get(node.get("interaction", ""))
        interaction = value.interaction if value else match.interaction
        channel = value.channel if value else match.channel
        if interaction is not None:
            self.kinds.setdefault(interaction)
            conditions.append(f"interaction = {self._bind(interaction)}")
        if channel is not None:
            conditions.append(f"channel = {self._bind(channel)}")
        if value is not None and value.machine_open is not None:
            # An open that is not marked as a machine's counts as a person's.
            conditions.append(f"machine_open IS {'' if value.machine_open else 'NOT '}TRUE")
        if node.get(EXCLUDE_SUSPECTED_BOTS.name):
            conditions.append("is_suspected_bot_click IS NOT TRUE")
        if match.conversion_index is not None:
            conditions.append(f"conversion_index = {self._bind(match.conversion_index)}")
        conditions += [
            f"{parameter.column} = {self._bind(node[parameter.name])}"
            for parameter in declared.parameters
            if parameter.column not in (None, "source_id") and parameter.name in node
        ]
        return " AND ".join(conditions)

    # --- the statement ----------------------------------------------------------------------------------------------

    def _bind(self, value: Any) -> str:
        return "$" + self.names.setdefault((type(value), value), f"v{len(self.names) + 1}")

    def _binds(self, values: Iterable[str]) -> str:
        return ", ".join(self._bind(value) for value in values)

    def finished(self, selected: list[str], condition: str) -> AudienceQuery:
        """Put the statement together.

        Args:
            selected: What it selects of the users and their flags.
            condition: Which of them.
        """
        tables = [USERS.name]
        parts = []
        if self.interactions.columns:
            parts += [*([self._tag_part()] if self.tags else []), self._interaction_part()]
            tables += [SOURCES.name, VANISHED_SOURCES.name, SOURCE_TAGS.name] if self.tags else []
        if self.summaries.columns:
            origin = f"FROM {USER_MESSAGE_SUMMARY.name}\n    WHERE measure IN ({self._binds(self.measures)})"
            parts.append(_flags_part("summary_flags", self.summaries, origin))
            tables.append(USER_MESSAGE_SUMMARY.name)
        parts.append(self._flagged_part())
        previous = "flagged"
        for depth, layer in enumerate(self.layers, start=1):
            # Materialized, because engines would otherwise copy each layer's conditions into the next and double them.
            columns = ",\n        ".join(["*", *layer])
            parts.append(f"{LAYER}{depth} AS MATERIALIZED (\n    SELECT\n        {columns}\n    FROM {previous}\n)")
            previous = f"{LAYER}{depth}"
        binds = {name: value for (_, value), name in self.names.items()}
        with_parts = ",\n".join(parts)
        sql = f"WITH\n{with_parts}\nSELECT {', '.join(selected)} FROM {previous}\nWHERE {condition}"
        return AudienceQuery(sql, binds, tuple(tables))

    def _tag_part(self) -> str:
        # One relation for all tags, so that interactions are joined once and not once per tag.
        columns = ["source_id"]
        for (tag, reducing), name in self.tags.items():
            kept = f" AND source_id NOT IN ({self._binds(sorted(self.without))})" if reducing else ""
            columns.append(f"bool_or(tag = {self._bind(tag)}{kept}) AS {name}")
        tags = dict.fromkeys(tag for tag, _ in self.tags)
        looked_at = indent(_TAG_SOURCES.replace("$tags", self._binds(tags)), "        ")
        origin = f"FROM (\n{looked_at}\n    ) AS looked_at\n    GROUP BY source_id"
        return f"tag_sources AS (\n    SELECT\n        {_listed(columns)}\n    {origin}\n)"

    def _interaction_part(self) -> str:
        joins = ["    LEFT JOIN tag_sources ON seen.source_id = tag_sources.source_id"] if self.tags else []
        chosen = ["tag_sources.source_id IS NOT NULL"] if self.tags else []
        if self.sources:
            chosen.insert(0, f"seen.source_id IN ({self._binds(self.sources)})")
        where = f"    WHERE interaction IN ({self._binds(self.kinds)}) AND ({' OR '.join(chosen)})"
        lines = [f"FROM {INTERACTIONS_VIEW} AS seen", *joins, where]
        return _flags_part("interaction_flags", self.interactions, "\n".join(lines))

    def _flagged_part(self) -> str:
        columns = [
            "users.user_id",
            *self.users.selected(),
            *(f"interaction_flags.{name}" for name in self.interactions.columns.values()),
            *(f"summary_flags.{name}" for name in self.summaries.columns.values()),
        ]
        joins = [
            f"\n    LEFT JOIN {relation} ON users.user_id = {relation}.user_id"
            for relation, flags in (("interaction_flags", self.interactions), ("summary_flags", self.summaries))
            if flags.columns
        ]
        return f"flagged AS (\n    SELECT\n        {_listed(columns)}\n    FROM users{''.join(joins)}\n)"


def _flags_part(name: str, flags: _Flags, origin: str) -> str:
    columns = ["user_id", *flags.selected()]
    return f"{name} AS (\n    SELECT\n        {_listed(columns)}\n    {origin}\n    GROUP BY user_id\n)"


def _listed(columns: list[str]) -> str:
    return ",\n        ".join(columns)


def _balanced(operator: str, conditions: list[str]) -> str:
    if len(conditions) == 1:
        return conditions[0]
    middle = len(conditions) // 2
    return f"({_balanced(operator, conditions[:middle])} {operator} {_balanced(operator, conditions[middle:])})"
