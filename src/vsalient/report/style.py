"""The page's style sheet and script. Nothing is loaded from anywhere."""

CSS = """
:root { --bg:#fbfbf9; --card:#fff; --ink:#1d1d1b; --muted:#6d6c67; --grid:#e5e4df; --line:#d8d7d1;
  --c0:#2a6fdb; --c1:#e0632b; --c2:#17996b; --c3:#c79000; --c4:#8352cf; --c5:#d1417f; --c6:#0d93a8; --c7:#777570; }
@media (prefers-color-scheme: dark) { :root { --bg:#171716; --card:#201f1e; --ink:#ecebe7; --muted:#a3a29c;
  --grid:#33322f; --line:#3d3c38; --c0:#5b9bf5; --c1:#f2865a; --c2:#3fc08f; --c3:#e2b33c; --c4:#a988ea; --c5:#ea78a8;
  --c6:#45bccd; --c7:#a5a39d; } }
* { box-sizing:border-box }
body { margin:0 auto; padding:28px 24px 60px; max-width:1400px; background:var(--bg); color:var(--ink);
  font:14px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif }
h1 { font-size:24px; margin:0 0 4px; letter-spacing:-.01em } h2 { font-size:17px; margin:36px 0 10px }
h3 { font-size:13px; font-weight:600; margin:0 0 6px } p { margin:0 0 8px }
.sub, .note { color:var(--muted) } .note { font-size:12.5px; max-width:80ch }
.card { background:var(--card); border:1px solid var(--line); border-radius:8px; padding:14px 16px; min-width:0 }
.row { display:flex; flex-wrap:wrap; gap:14px; align-items:flex-start }
.scroll { overflow-x:auto }
.fill { display:grid; gap:14px; grid-template-columns:repeat(auto-fill,minmax(250px,1fr)) }
.charts { grid-template-columns:repeat(auto-fill,minmax(310px,1fr)) } .fill svg { width:100% }
table { border-collapse:collapse; font-variant-numeric:tabular-nums }
th, td { padding:4px 12px 4px 0; text-align:right; white-space:nowrap; border-bottom:1px solid var(--grid) }
th { font-weight:600; color:var(--muted); font-size:12px } th:first-child, td:first-child { text-align:left }
td.best { font-weight:700 } tr:last-child td { border-bottom:0 }
svg { display:block; max-width:100%; height:auto; overflow:visible }
.grid { stroke:var(--grid); stroke-width:1 } .tick { fill:var(--muted); font-size:10.5px }
.axis { fill:var(--muted); font-size:11.5px } .name { fill:var(--ink); font-size:12px } .value { fill:var(--muted) }
.l { fill:none; stroke-width:2; stroke-linejoin:round; stroke-linecap:round } .spark .l { stroke-width:1.5 }
.spark svg .tick { font-size:9px }
.legend { margin:0 0 10px } .key { margin-right:18px } .key i { display:inline-block; width:12px; height:12px;
  border-radius:3px; margin-right:6px; vertical-align:-1px }
SERIES_COLOURS
select { font:inherit; color:inherit; background:var(--card); border:1px solid var(--line); border-radius:6px;
  padding:3px 8px; margin-bottom:12px }
figure { margin:0 0 16px } figcaption { font-size:12.5px; margin-bottom:5px }
.pictures { display:flex; gap:6px } .pictures div { flex:1 1 0; min-width:0; max-width:300px; font-size:11px;
  color:var(--muted) }
.pictures img { width:100%; display:block; border-radius:4px; border:1px solid var(--line) }
.half { flex:1 1 560px }
#tip { position:fixed; pointer-events:none; display:none; background:var(--ink); color:var(--bg); padding:4px 9px;
  border-radius:5px; font-size:12px; white-space:pre; z-index:9 }
.dot { stroke:var(--card); stroke-width:2 }
"""

SCRIPT = """
for (const select of document.querySelectorAll('select[data-switch]')) {
  const show = () => document.querySelectorAll('.' + select.dataset.switch).forEach(
    part => { part.hidden = part.dataset.name !== select.value; });
  select.addEventListener('change', show); show();
}
const tip = document.getElementById('tip');
for (const svg of document.querySelectorAll('svg[data-hover]')) {
  const lines = JSON.parse(svg.dataset.hover);
  const dot = document.createElementNS('http://www.w3.org/2000/svg', 'circle');
  dot.setAttribute('r', 4); dot.style.display = 'none'; svg.appendChild(dot);
  svg.addEventListener('mousemove', event => {
    const box = svg.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / box.width;
    const x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
    let best = null, near = Infinity;
    for (const line of lines) for (const p of line.points) {
      const d = (p[0] - x) ** 2 + (p[1] - y) ** 2;
      if (d < near) { near = d; best = [line, p]; }
    }
    if (!best) return;
    const [line, p] = best;
    dot.setAttribute('cx', p[0]); dot.setAttribute('cy', p[1]); dot.setAttribute('class', 'dot b s' + line.colour);
    dot.style.display = '';
    tip.textContent = line.label + '\\n' + p[2];
    tip.style.display = 'block';
    const left = event.clientX + 14, width = tip.offsetWidth;
    tip.style.left = (left + width > innerWidth ? event.clientX - width - 14 : left) + 'px';
    tip.style.top = event.clientY + 14 + 'px';
  });
  svg.addEventListener('mouseleave', () => { tip.style.display = 'none'; dot.style.display = 'none'; });
}
"""


def style_sheet(series: int) -> str:
    """Return the style sheet, with a class for each series' colour."""
    colours = "\n".join(
        f".l.s{n} {{ stroke:var(--c{n}) }} .b.s{n} {{ fill:var(--c{n}) }} i.s{n} {{ background:var(--c{n}) }}"
        for n in range(series)
    )
    return CSS.replace("SERIES_COLOURS", colours)
