"""Charts, drawn on the server as SVG: shown as images in both themes, each beside a table of the same figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import Query, Response

from perennial import text as formatting

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

Theme = Annotated[Literal["light", "dark"], Query(description="Theme of the page around it")]

Narrow = Annotated[bool, Query(description="Whether it is for a narrow window")]

# An SVG is a document of its own: its style is inside it, and it may do nothing else.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'self'"
_MOST_PERIODS = 400
_WIDE = {"width": 960, "height": 320, "x_labels_major_count": 8}
# Drawn for a phone, so that its text is as large there as elsewhere.
_NARROW = {"width": 400, "height": 300, "x_labels_major_count": 2}
# Colours that can be told apart without seeing red and green, at 3:1 or more on the page's ground.
_COLORS = {
    "light": ("#1f5fbf", "#b35900", "#146c43", "#7a3fb0", "#a3180d", "#57616b", "#00707a"),
    "dark": ("#8ab8ff", "#f2a65a", "#7ddba6", "#c9a3f5", "#ff9d94", "#a3afb9", "#6fd3dd"),
}
_INK = {"light": ("#1d2329", "#57616b", "#d5dade"), "dark": ("#e8ecef", "#a3afb9", "#3a444d")}


@dataclass(frozen=True)
class Chart:
    """Figures by label.

    Attributes:
        labels: Labels of the horizontal axis, in order.
        series: Figures by name, one per label; None where there is none.
        shape: Lines, or bars.
        written: How a figure is written.
        whole: Whether figures are whole numbers, so that no line is needed between them.
    """

    labels: Sequence[str]
    series: Mapping[str, Sequence[float | None]]
    shape: Literal["lines", "bars"]
    written: Callable[[float], str]
    whole: bool = False


def drawn(chart: Chart, theme: Literal["light", "dark"], narrow: bool = False) -> Response:
    """Answer with a chart as an SVG image without scripts."""
    import pygal

    kind = pygal.Line if chart.shape == "lines" else pygal.Bar
    drawing = kind(
        **(_NARROW if narrow else _WIDE), style=_style(theme), js=(), no_data_text="Nothing yet",
        value_formatter=chart.written, legend_at_bottom=True, show_legend=len(chart.series) > 1,
        show_dots=len(chart.labels) < 2,
        stroke_style={"width": 2}, truncate_legend=-1, truncate_label=-1,
        show_minor_x_labels=len(chart.labels) <= (2 if narrow else 8),
        min_scale=3, max_scale=6, range=(0, _most(chart)), margin=12, margin_right=44, spacing=8,
    )  # fmt: skip
    drawing.x_labels = [formatting.dated(label) for label in chart.labels]
    if chart.whole and chart.labels and _most(chart) <= 6:
        drawing.y_labels = list(range(int(_most(chart)) + 1))
    for name, figures in chart.series.items():
        drawing.add(name, list(figures))
    drawing.add_xml_filter(_without_scripts)
    headers = {"Content-Security-Policy": _POLICY}
    return Response(drawing.render(), media_type="image/svg+xml", headers=headers)


def by_period(figures: Iterable[tuple[date, str, int]]) -> tuple[list[str], dict[str, list[int]]]:
    """Add figures up by day, or by month or year where there would be too many days to draw.

    Args:
        figures: Day, name of a series, figure.

    Returns:
        Labels from the first period to the last, without gaps, and each series' figures.
    """
    found = list(figures)
    if not found:
        return [], {}
    labels = _periods(min(day for day, _, _ in found), max(day for day, _, _ in found))
    positions = {label: position for position, label in enumerate(labels)}
    series: dict[str, list[int]] = {name: [0] * len(labels) for name in sorted({name for _, name, _ in found})}
    for day, name, figure in found:
        series[name][positions[day.isoformat()[: len(labels[0])]]] += figure
    return labels, series


def _periods(first: date, last: date) -> list[str]:
    days = (last - first).days + 1
    if days <= _MOST_PERIODS:
        return [(first + timedelta(day)).isoformat() for day in range(days)]
    months = range(first.year * 12 + first.month - 1, last.year * 12 + last.month)
    if len(months) <= _MOST_PERIODS:
        return [f"{month // 12:04}-{month % 12 + 1:02}" for month in months]
    return [f"{year:04}" for year in range(first.year, last.year + 1)]


def _most(chart: Chart) -> float:
    return max([1, *(figure for figures in chart.series.values() for figure in figures if figure is not None)])


def _style(theme: Literal["light", "dark"]) -> Any:
    from pygal.style import Style

    ink, quiet, line = _INK[theme]
    return Style(
        background="transparent", plot_background="transparent", foreground=quiet, foreground_strong=ink,
        foreground_subtle=line, guide_stroke_color=line, major_guide_stroke_color=line, colors=_COLORS[theme],
        opacity=".9", stroke_width=2.5, font_family="system-ui, sans-serif", label_font_size=12,
        major_label_font_size=12, legend_font_size=13, no_data_font_size=16,
    )  # fmt: skip


def _without_scripts(root: Element) -> Element:
    # pygal writes its settings into a script even if nothing reads them.
    for parent in list(root.iter()):
        for child in [child for child in parent if str(child.tag).rpartition("}")[2] == "script"]:
            parent.remove(child)
    return root
