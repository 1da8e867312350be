"""Line charts as SVG, one panel per condition, with the axis and the legend shared."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

Points = Sequence[tuple[float, float]]
OURS = "drn"  # the product's line, which is drawn last, thicker and in a colour of its own
COLOURS = (
    "#8c8c8c",
    "#e69f00",
    "#56b4e9",
    "#cc79a7",
    "#009e73",
    "#d55e00",
    "#0072b2",
    "#000000",
    "#b79f00",
    "#999933",
    "#44aa99",
    "#aa4499",
    "#882255",
    "#ddaa88",
)  # Okabe & Ito, colour-blind safe; then Tol's muted ones for tables with many rows
WIDTH, HEIGHT, LEFT, TOP, GAP, FOOT = 300, 220, 56, 40, 24, 64
LEGEND_ROW = 18


def write_chart(
    path: Path,
    title: str,
    x_label: str,
    y_label: str,
    panels: Mapping[str, Mapping[str, Points]],
    panel_width: int = WIDTH,
    marks: Sequence[float] = (),
) -> None:
    """`panels` maps a panel's title to its lines by name, in the same colours everywhere; `marks` are x to point out."""
    path.write_text(chart(title, x_label, y_label, panels, panel_width, marks), encoding="utf-8")


def chart(
    title: str,
    x_label: str,
    y_label: str,
    panels: Mapping[str, Mapping[str, Points]],
    panel_width: int = WIDTH,
    marks: Sequence[float] = (),
) -> str:
    points = [point for lines in panels.values() for line in lines.values() for point in line]
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    others = [name for name in names if name != OURS]
    colours = {OURS: "#c1121f"} if OURS in names else {}
    colours |= {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(others)}
    x_range, y_range = extent([x for x, _ in points]), extent([y for _, y in points])
    width = LEFT + len(panels) * (panel_width + GAP)
    keys, legend_rows = legend(colours, TOP + HEIGHT + FOOT - 12, width)
    height = TOP + HEIGHT + FOOT + LEGEND_ROW * (legend_rows - 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="11" fill="#333">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        text(LEFT, 16, title, size=13),
        f'<g transform="rotate(-90 12 {TOP + HEIGHT / 2})">{text(12, TOP + HEIGHT / 2, y_label, "middle")}</g>',
        text(LEFT + (width - LEFT - GAP) / 2, TOP + HEIGHT + 32, x_label, "middle"),
    ]
    for column, (name, lines) in enumerate(panels.items()):
        left = LEFT + column * (panel_width + GAP)
        parts += panel(left, panel_width, name, lines, colours, x_range, y_range, marks, labelled=column == 0)
    return "\n".join([*parts, *keys, "</svg>\n"])


def panel(
    left: float,
    width: float,
    title: str,
    lines: Mapping[str, Points],
    colours: Mapping[str, str],
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    marks: Sequence[float],
    labelled: bool,
) -> list[str]:
    def x_at(x: float) -> float:
        return left + width * (x - x_range[0]) / (x_range[1] - x_range[0])

    def y_at(y: float) -> float:
        return TOP + HEIGHT * (y_range[1] - y) / (y_range[1] - y_range[0])

    parts = [text(left + width / 2, TOP - 8, title, "middle")]
    for tick in ticks(y_range):
        parts.append(f'<path d="M{left} {y_at(tick):.1f}h{width}" stroke="#e5e5e5"/>')
        if labelled:
            parts.append(text(left - 6, y_at(tick) + 4, f"{tick:g}", "end"))
    parts += [text(x_at(tick), TOP + HEIGHT + 15, f"{tick:,g}", "middle") for tick in (x_range[0], sum(x_range) / 2)]
    parts += [f'<path d="M{x_at(x):.1f} {TOP}v{HEIGHT}" stroke="#999" stroke-dasharray="4 3"/>' for x in marks]
    for name, points in sorted(lines.items(), key=lambda line: line[0] == OURS):
        path = " ".join(f"{x_at(x):.1f},{y_at(y):.1f}" for x, y in points)
        parts.append(
            f'<polyline fill="none" stroke="{colours[name]}" stroke-width="{3 if name == OURS else 1.6}" points="{path}"/>'
        )
    return parts


def legend(colours: Mapping[str, str], y: float, width: float) -> tuple[list[str], int]:
    """The keys, and how many rows of them it takes."""
    parts, x, rows = [], float(LEFT), 1
    for name, colour in colours.items():
        if x + 24 + 7 * len(name) > width and x > LEFT:
            x, y, rows = float(LEFT), y + LEGEND_ROW, rows + 1
        parts.append(f'<path d="M{x} {y - 4}h18" stroke="{colour}" stroke-width="3"/>{text(x + 24, y, name)}')
        x += 48 + 7 * len(name)
    return parts, rows


def text(x: float, y: float, words: str, anchor: str = "start", size: int = 11) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(words)}</text>'


def extent(values: Sequence[float]) -> tuple[float, float]:
    """The range of the values, never empty."""
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def ticks(span: tuple[float, float]) -> list[float]:
    """Between three and eight round numbers within the range."""
    low, high = span
    step = 10.0**-9
    while (high - low) / step > 8:
        step *= 2.5 if f"{step:e}".startswith("2") else 2
    first = -(-low // step)
    return [round((first + i) * step, 9) for i in range(int((high - first * step) / step) + 1)]
