"""A plot of the growth as SVG: both axes logarithmic, a line for each command."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from xml.sax.saxutils import escape

Point = tuple[float, float]
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 900, 520, 70, 250, 40, 50
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#777777", "#994400")
LABEL_HEIGHT = 15  # pixels between two names beside the lines


def svg(title: str, x_name: str, y_name: str, series: Mapping[str, Sequence[Point]]) -> str:
    """A plot of series of points, each at least one, all numbers above 0; the name stands beside the line's end."""
    points = [point for line in series.values() for point in line]
    x_at = _scale([x for x, _ in points], LEFT, WIDTH - RIGHT)
    y_at = _scale([y for _, y in points], HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(LEFT, TOP - 18, title, size=15),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, x_name, anchor="middle"),
        _text(LEFT, TOP - 4, y_name),
        *_grid(points, x_at, y_at),
        *_lines(series, x_at, y_at),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


class _scale:  # noqa: N801 - called as a function
    """Maps numbers to pixels, so that equal ratios are equal distances."""

    def __init__(self, values: Iterable[float], start: float, end: float) -> None:
        logarithms = [math.log10(value) for value in values]
        self.low, self.high = math.floor(min(logarithms)), math.ceil(max(logarithms))
        self.high += self.high == self.low
        self._start, self._per_decade = start, (end - start) / (self.high - self.low)

    def __call__(self, value: float) -> float:
        return round(self._start + (math.log10(value) - self.low) * self._per_decade, 1)

    def decades(self) -> Iterator[float]:
        """The powers of ten from end to end."""
        yield from (10.0**exponent for exponent in range(self.low, self.high + 1))


def _grid(points: Sequence[Point], x_at: _scale, y_at: _scale) -> Iterator[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    for x in sorted({x for x, _ in points}):
        yield f'<path d="M{x_at(x)} {TOP}V{bottom}" stroke="#dddddd"/>'
        yield _text(x_at(x), bottom + 16, f"{x:,.0f}", anchor="middle")
    for y in y_at.decades():
        yield f'<path d="M{LEFT} {y_at(y)}H{right}" stroke="#dddddd"/>'
        yield _text(LEFT - 6, y_at(y) + 4, f"{y:g}", anchor="end")


def _lines(series: Mapping[str, Sequence[Point]], x_at: _scale, y_at: _scale) -> Iterator[str]:
    ends = sorted((y_at(line[-1][1]), name) for name, line in series.items())
    label = 0.0
    for number, (end, name) in enumerate(ends):
        colour = COLOURS[number % len(COLOURS)]
        path = "L".join(f"{x_at(x)} {y_at(y)}" for x, y in series[name])
        yield f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        label = max(end, label + LABEL_HEIGHT)
        yield _text(WIDTH - RIGHT + 10, label + 4, name, colour=colour)


def _text(x: float, y: float, text: str, *, anchor: str = "start", colour: str = "#222222", size: int = 12) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{colour}" font-size="{size}">{escape(text)}</text>'
