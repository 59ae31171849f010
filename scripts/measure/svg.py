"""A grouped bar chart as one self-contained SVG; light and dark backgrounds both."""

from __future__ import annotations

from html import escape

COLOURS = ["#4477aa", "#ee6677", "#228833", "#ccbb44"]
WIDTH, BAR, GAP, LEFT, RIGHT, TOP = 720, 14, 18, 170, 60, 70


def bars(title: str, note: str, kinds: list[str], rows: list[tuple[str, list[float]]]) -> str:
    """One group of bars for each row, one bar for each kind, values in per cent."""
    group = BAR * len(kinds) + GAP
    height = TOP + group * len(rows) + 40
    scale = (WIDTH - LEFT - RIGHT) / 100
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="sans-serif" font-size="12" role="img" aria-label="{escape(title, quote=True)}">',
        '<style>text{fill:#222}@media(prefers-color-scheme:dark){text{fill:#ddd}}</style>',
        f'<text x="10" y="22" font-size="16">{escape(title)}</text>',
    ]
    for i, kind in enumerate(kinds):
        x = LEFT + i * 120
        out.append(f'<rect x="{x}" y="38" width="12" height="12" fill="{COLOURS[i]}"/>')
        out.append(f'<text x="{x + 17}" y="48">{escape(kind)}</text>')
    for at in range(0, 101, 25):
        x = LEFT + at * scale
        out.append(f'<line x1="{x}" x2="{x}" y1="{TOP - 8}" y2="{height - 36}" stroke="#8886"/>')
    for i, (name, values) in enumerate(rows):
        y = TOP + i * group
        out.append(f'<text x="{LEFT - 10}" y="{y + group / 2 - 4}" text-anchor="end">{escape(name)}</text>')
        for j, value in enumerate(values):
            top = y + j * BAR
            out.append(f'<rect x="{LEFT}" y="{top}" width="{value * scale:.1f}" height="{BAR - 2}" fill="{COLOURS[j]}"/>')
            out.append(f'<text x="{LEFT + value * scale + 5:.1f}" y="{top + 10}">{value:.1f} %</text>')
    out.append(f'<text x="10" y="{height - 12}">{escape(note)}</text>')
    out.append("</svg>\n")
    return "\n".join(out)
