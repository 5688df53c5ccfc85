"""Bar charts as SVG, in the colours of the reader's light or dark theme."""

from html import escape

STYLE = """<style>
text { fill: #1f2933; font: 13px system-ui, 'Segoe UI', Helvetica, Arial, sans-serif } .head { font-weight: bold }
rect { fill: #9fb3c8 } .own { fill: #2f6fb0 }
@media (prefers-color-scheme: dark) { text { fill: #e4e7eb } rect { fill: #52667a } .own { fill: #6cb2f7 } }
</style>"""
LINE, LABEL, WIDTH, SPACE = 24, 130, 700, 100


def bars(title, groups, own="Sluicegate"):
    """Returns a chart with one group of bars for each of `groups`, a name and pairs of label and value."""
    lines, y = [f'<text class="head" x="0" y="16">{escape(title)}</text>'], 2 * LINE
    for name, values in groups:
        lines.append(f'<text class="head" x="0" y="{y}">{escape(name)}</text>')
        largest = max(value for _, value in values)
        for label, value in values:
            y += LINE
            width = max(1, (WIDTH - LABEL - SPACE) * value / largest)
            kind = ' class="own"' if label == own else ""
            lines += [f'<text x="0" y="{y}">{escape(label)}</text>',
                      f'<rect{kind} x="{LABEL}" y="{y - 13}" width="{width:.1f}" height="17"/>',
                      f'<text x="{LABEL + width + 8:.1f}" y="{y}">{value:,.0f}</text>']
        y += 2 * LINE
    size = f'width="{WIDTH}" height="{y - LINE}" viewBox="0 0 {WIDTH} {y - LINE}"'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', STYLE, *lines, "</svg>", ""])
