"""The style sheet of a report in HTML: system fonts, a light and a dark set of colours, and paper."""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --page: #fbfaf8; --card: #ffffff; --ink: #1e2328; --soft: #59626c; --edge: #e2dfd9; --code: #f4f2ee;
  --good: #1d6b46; --good-back: #e9f4ee; --bad: #a5332a; --bad-back: #fbecea; --even: #7a5b12; --even-back: #faf3e0;
  --c1: #2f6da8; --c2: #c4581c; --c3: #2c8a6b; --c4: #7d55b0; --c5: #a88410; --c6: #b03a6f; --grey: #8b929a;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --page: #15181b; --card: #1c2024; --ink: #e6e4df; --soft: #a0a8b0; --edge: #343a40; --code: #23282d;
    --good: #7fd0a5; --good-back: #17302a; --bad: #f0968c; --bad-back: #3a2220; --even: #e0c373; --even-back: #342c18;
    --c1: #74aee0; --c2: #f09358; --c3: #66c7a4; --c4: #b998e6; --c5: #d8b84c; --c6: #e688b4; --grey: #8b929a;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI",
  Roboto, "Helvetica Neue", "Noto Sans", sans-serif; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
main { max-width: 64rem; margin: 0 auto; padding: 3rem 1.5rem 5rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 1.2rem; letter-spacing: -0.01em; }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 3.2rem 0 .9rem; padding-top: 1.1rem;
  border-top: 1px solid var(--edge); }
h3 { font-size: 1rem; margin: 1.8rem 0 .6rem; }
p { margin: .6rem 0; max-width: 46rem; }
a { color: var(--c1); }
.maker { color: var(--soft); font-size: .85rem; letter-spacing: .04em; margin: 0 0 .3rem; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: .8rem 1.6rem; margin: 0; }
.facts div { min-width: 0; }
dt { color: var(--soft); font-size: .8rem; }
dd { margin: 0; }
nav { margin: 1.6rem 0 0; font-size: .9rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; list-style: none; margin: 0; padding: 0; }
.verdict { margin: 2rem 0 0; padding: 1.4rem 1.6rem 1.1rem; border-radius: .7rem; background: var(--even-back); }
.verdict h2 { border: 0; margin: 0; padding: 0; color: var(--even); font-size: 1.5rem; }
.verdict.better { background: var(--good-back); } .verdict.better h2 { color: var(--good); }
.verdict.worse { background: var(--bad-back); } .verdict.worse h2 { color: var(--bad); }
.verdict p { margin: .5rem 0 .3rem; max-width: none; }
.bar { width: 100%; max-width: 26rem; height: auto; display: block; margin: .8rem 0 0; overflow: visible; }
.bar .interval { stroke: var(--ink); stroke-width: 4; stroke-linecap: round; opacity: .45; }
.bar .estimate { fill: var(--ink); }
.wide { overflow-x: auto; margin: .8rem 0 1.2rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; background: var(--card); }
caption { text-align: left; color: var(--soft); font-size: .85rem; padding: .3rem .7rem; }
th, td { padding: .45rem .7rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--edge);
  overflow-wrap: break-word; }
td:last-child { overflow-wrap: anywhere; }
thead th { color: var(--soft); font-weight: 500; white-space: nowrap; border-bottom-color: var(--grey); }
tbody th { font-weight: 500; }
.number { text-align: right; white-space: nowrap; }
.primary tbody tr:first-child { font-weight: 600; }
.notes { padding-left: 1.2rem; max-width: 46rem; }
.notes li { margin: .35rem 0; }
.quiet, .nothing { color: var(--soft); font-size: .9rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 1.2rem; }
.charts .full { grid-column: 1 / -1; }
figure { margin: 0; padding: 1rem 1.1rem .8rem; background: var(--card); border: 1px solid var(--edge);
  border-radius: .6rem; min-width: 0; break-inside: avoid; }
figcaption { font-weight: 600; font-size: .95rem; margin: 0 0 .5rem; }
figure svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--soft); font-size: 12px; }
svg.bar text { font-size: 13px; }
svg .middle { text-anchor: middle; } svg .end { text-anchor: end; } svg .label { font-style: italic; }
svg .grid { stroke: var(--edge); } svg .axis { stroke: var(--grey); }
svg .base, i.base { stroke: var(--grey); stroke-width: 1.5; stroke-dasharray: 6 4; }
.c1 { --hue: var(--c1); } .c2 { --hue: var(--c2); } .c3 { --hue: var(--c3); }
.c4 { --hue: var(--c4); } .c5 { --hue: var(--c5); } .c6 { --hue: var(--c6); }
svg .raw, svg .line, svg .joint, svg .error { fill: none; stroke: var(--hue); stroke-width: 2; stroke-linejoin: round; }
svg .raw { opacity: .35; stroke-width: 1; } svg .joint { stroke-width: 1.3; } svg .error { stroke-width: 1.4; }
svg .dot { fill: var(--hue); } svg .chosen { fill: none; stroke: var(--ink); stroke-width: 1.6; }
svg .area { fill: var(--hue); opacity: .75; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; list-style: none; margin: .5rem 0 0; padding: 0;
  color: var(--soft); font-size: .83rem; }
.legend li { }
.legend i { display: inline-block; width: 1.1rem; margin-right: .4rem; vertical-align: middle;
  border-top: 3px solid var(--hue); }
.legend i.dots { width: .6rem; height: .6rem; border: 0; border-radius: 50%; background: var(--hue); }
.legend i.area { width: .8rem; height: .8rem; border: 0; background: var(--hue); opacity: .75; }
.legend i.chosen { width: .75rem; height: .75rem; border: 1.6px solid var(--ink); border-radius: 50%; }
.legend i.base { border-top: 2px dashed var(--grey); }
details { margin: .6rem 0; } summary { cursor: pointer; color: var(--soft); font-size: .88rem; }
details table { font-size: .82rem; }
pre { margin: .3rem 0 .8rem; padding: .7rem .9rem; background: var(--code); border-radius: .4rem; max-height: 24rem;
  overflow: auto; white-space: pre-wrap; unicode-bidi: plaintext; contain: content;
  font: .83rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "Noto Sans Mono", monospace; }
.row { border: 1px solid var(--edge); border-radius: .6rem; background: var(--card); padding: .2rem 1.1rem .5rem;
  margin: 0 0 1rem; break-inside: avoid; }
.row h3 { margin: .8rem 0 .5rem; }
.side { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); gap: 0 1.2rem; }
.side > div { min-width: 0; }
h4 { margin: .4rem 0 .2rem; font-size: .8rem; font-weight: 500; color: var(--soft); }
.alarm { border-left: 4px solid var(--even); padding: .1rem 0 .1rem 1rem; margin: 1.2rem 0; }
.alarm.error { border-color: var(--bad); }
.hidden { color: var(--bad); background: var(--bad-back); border-radius: .2rem; unicode-bidi: isolate; }
footer { margin-top: 4rem; padding-top: 1rem; border-top: 1px solid var(--edge); color: var(--soft);
  font-size: .85rem; }
@media print {
  @page { margin: 16mm; }
  body { background: none; font-size: 10.5pt; } main { max-width: none; padding: 0; } nav { display: none; }
  h2, h3, h4 { break-after: avoid; } tr { break-inside: avoid; } pre { max-height: none; overflow: visible; }
  .wide { overflow: visible; } figure, .row { break-inside: avoid; } .verdict { border: 1px solid var(--edge); }
  * { print-color-adjust: exact; }
}
"""
