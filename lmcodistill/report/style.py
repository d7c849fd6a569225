"""How pages and charts look: on light and dark paper, on phones and in print."""

from collections.abc import Sequence

# Of the lines of a chart, in their order; and how each is drawn, to be told apart
# without colour as well.
COLORS = ("#2563a8", "#c4501b", "#1f7a4d", "#7d4bb5", "#80660f", "#b3245e")
_DARK = ("#6ea8e8", "#f0925c", "#5fc08f", "#b894e6", "#d1b350", "#ee7fa8")
DASHES = ((), (2, 3), (10, 3, 2, 3), (14, 5), (5, 2, 1, 2, 1, 2), (1, 5))
# Of a line that the others are compared with.
REFERENCE_DASHES = (7, 4)

PAGE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1c2330; --quiet: #5d6778;
  --line: #dde2ea; --panel: #f5f7fa; --bar: #5b7db1; --warn: #8a4b00;
  --shadow: #1c233055; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181f; --ink: #e4e8ef;
  --quiet: #98a2b3; --line: #313947; --panel: #1c222c; --bar: #7b9fd6;
  --warn: #f0b46a; --shadow: #000c; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 54rem;
  padding: 0 1rem; color: var(--ink); background: var(--paper); }
h1 { font-size: 1.5rem; line-height: 1.25; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
.lead { font-size: 1.08rem; } .quiet { color: var(--quiet); }
.warn { color: var(--warn); font-weight: 600; }
.bar { fill: var(--bar); } .bars { width: 45%; }
.bars svg { display: block; width: 100%; height: 12px; margin: .35rem 0; }
/* A table that is too wide scrolls, and a shadow at its edge says so. */
.wide { overflow-x: auto; margin: .6rem 0; background:
  linear-gradient(to right, var(--paper) 30%, transparent) left / 3rem 100%,
  linear-gradient(to left, var(--paper) 30%, transparent) right / 3rem 100%,
  linear-gradient(to right, var(--shadow), transparent) left / .8rem 100%,
  linear-gradient(to left, var(--shadow), transparent) right / .8rem 100%;
  background-repeat: no-repeat;
  background-attachment: local, local, scroll, scroll; }
.wide:focus-visible { outline: 2px solid var(--bar); }
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; color: var(--quiet); padding-bottom: .2rem; }
th, td { text-align: left; padding: .3rem .7rem .3rem 0;
  border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { color: var(--quiet); font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: inherit; }
td, tbody th { white-space: nowrap; }
.text { white-space: normal !important; min-width: 9rem; overflow-wrap: anywhere; }
.n { text-align: right; font-variant-numeric: tabular-nums; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; padding: .8rem 1rem;
  background: var(--panel); border-radius: 6px; font-size: .9rem; }
figure { margin: 1.4rem 0; } figcaption { font-weight: 600; }
details { margin: .4rem 0 1rem; } summary { color: var(--quiet); cursor: pointer; }
@media (max-width: 40rem) { body { margin: 1rem auto; }
  .text { min-width: 7rem; } .bars { min-width: 6rem; } }
@media print {
  :root { color-scheme: light; --paper: #fff; --ink: #000; --quiet: #444;
    --line: #ccc; --panel: #fff; --bar: #5b7db1; --warn: #8a4b00;
    --shadow: transparent; }
  body { margin: 0; max-width: none; font-size: 10pt; }
  h1, h2, figcaption, caption, thead, .quiet { break-after: avoid; }
  figure, tr, .lead { break-inside: avoid; } p { orphans: 3; widows: 3; }
  .wide { overflow: visible; background: none; }
  /* The numbers of a chart are drawn already; what else is folded has no picture. */
  figure + details:not([open]) { display: none; }
  details::details-content { content-visibility: visible; }
  pre { border: 1px solid var(--line); } }
"""


def _rules(colors: Sequence[str]) -> str:
    return "\n".join(
        f".chart .s{i} {{ stroke: {color}; }} "
        f".chart circle.s{i}, .chart .band.s{i} {{ fill: {color}; }}"
        for i, color in enumerate(colors)
    )


def _dashes() -> str:
    return "\n".join(
        f".chart .line.s{i} {{ stroke-dasharray: {' '.join(map(str, dashes))}; }}"
        for i, dashes in enumerate(DASHES)
        if dashes
    )


# In a drawing 720 wide; on a phone letters are larger in it, and some marks go.
CHART = f"""
.chart {{ width: 100%; height: auto; overflow: visible;
  font: 12px system-ui, sans-serif; }}
.chart text {{ fill: var(--ink); }}
.chart .grid {{ stroke: var(--line); stroke-width: 1; }}
.chart .line {{ fill: none; stroke-width: 2; stroke-linejoin: round; }}
{_dashes()}
.chart .line.dashed {{ stroke-dasharray: {" ".join(map(str, REFERENCE_DASHES))}; }}
.chart .band {{ stroke: none; opacity: .16; }}
{_rules(COLORS)}
.chart .column {{ fill: var(--bar); }}
.chart .zone {{ fill: var(--line); opacity: .6; }}
.chart .zero {{ stroke: var(--quiet); stroke-width: 1.5; }}
.chart .whisker {{ stroke-width: 3; stroke-linecap: round; }}
.legend {{ display: flex; flex-wrap: wrap; gap: .1rem 1.2rem; list-style: none;
  margin: .2rem 0; padding: 0; font-size: .9rem; }}
.legend svg {{ width: 30px; height: 10px; margin-right: .4rem; }}
.axes {{ display: block; font-weight: 400; color: var(--quiet); }}
@media (prefers-color-scheme: dark) {{
{_rules(_DARK)}
}}
@media (max-width: 40rem) {{ .chart {{ font-size: 22px; }}
  .chart .name, .chart .odd {{ display: none; }} .chart .line {{ stroke-width: 3; }} }}
@media print {{
{_rules(COLORS)}
.chart {{ max-height: 9cm; }} }}
"""
