"""The style sheet of the page: light and dark, on a telephone and on paper; it loads nothing."""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #ffffff; --ink: #1c2430; --soft: #596273; --rule: #d8dde5; --band: #f4f6f9;
  --success: #2a78b8; --refused: #c2410c; --abandoned: #8a7a2f; --other: #5b6ee1;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #12161d; --ink: #e6e9ef; --soft: #a0a9b8; --rule: #333c4a; --band: #1b212b;
    --success: #5aa9e6; --refused: #ff8a5c; --abandoned: #d1bd62; --other: #93a2ff;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 84rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; margin: 2.25rem 0 .5rem; }
p { margin: .4rem 0; max-width: 60rem; }
.soft, figcaption { color: var(--soft); font-size: .9rem; }
td .soft { font-size: inherit; }
.answer { font-size: 1.05rem; }
.figures {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .75rem; margin: 1.25rem 0;
}
.figures div { background: var(--band); border-radius: .5rem; padding: .6rem .8rem; }
.figures dt { color: var(--soft); font-size: .85rem; }
.figures dd { margin: 0; font-size: 1.5rem; font-variant-numeric: tabular-nums; line-height: 1.3; }
figure { margin: .5rem 0; }
.plot { display: grid; grid-template-columns: auto 1fr; column-gap: .5rem; }
.plot svg {
  width: 100%; height: 11rem; display: block; border: solid var(--rule); border-width: 0 0 1px 1px;
}
.scale { display: flex; flex-direction: column; justify-content: space-between; text-align: right; }
.times { grid-column: 2; display: flex; justify-content: space-between; gap: 1rem; }
.scale, .times { color: var(--soft); font-size: .8rem; font-variant-numeric: tabular-nums; }
.key {
  display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: .25rem 0 .5rem; padding: 0; list-style: none;
  font-size: .9rem;
}
.key svg { width: .8rem; height: .8rem; margin-right: .4rem; vertical-align: -.05rem; }
.success { fill: var(--success); } .refused { fill: var(--refused); } .abandoned { fill: var(--abandoned); }
.other { fill: var(--other); } .grid { stroke: var(--rule); stroke-width: 1; vector-effect: non-scaling-stroke; }
.wide { overflow-x: auto; }
.wide:focus-visible, summary:focus-visible { outline: 2px solid var(--success); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { padding: .35rem .45rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--rule); }
thead th { color: var(--soft); font-weight: 600; white-space: nowrap; }
tbody th { font-weight: 500; min-width: 11.5rem; }
th, td { overflow-wrap: anywhere; overflow: clip; }
code { white-space: nowrap; font-size: .95em; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.when { white-space: nowrap; font-variant-numeric: tabular-nums; }
.advice { width: 60%; min-width: 15rem; }
.roles { min-width: 8rem; }
.from { min-width: 9rem; }
.from span, .from bdi { white-space: nowrap; }
.share { width: 60%; min-width: 6rem; }
.bar svg, .share svg { width: 100%; height: .8rem; display: block; margin: .25rem 0; }
.none { color: var(--soft); }
tr.rest th { font-weight: 400; color: var(--soft); }
details { margin: .5rem 0; } summary { cursor: pointer; color: var(--soft); font-size: .9rem; }
footer { margin-top: 3rem; border-top: 1px solid var(--rule); padding-top: .75rem; }
@media (max-width: 40rem) {
  body { padding: 1rem .75rem 2rem; }
  .plot svg { height: 8rem; }
  th, td { padding: .35rem .4rem; }
  tbody th { min-width: 8rem; }
  .advice { min-width: 10rem; }
  .times span:nth-child(2) { display: none; }
  .causes thead { display: none; }
  .causes tr { display: grid; grid-template-columns: 1fr auto 9.5rem; border-bottom: 1px solid var(--rule); }
  .causes th, .causes td { border: 0; }
  .causes .advice { grid-column: 1 / -1; width: auto; padding-top: 0; }
}
@media print {
  :root {
    --paper: #ffffff; --ink: #000000; --soft: #444444; --rule: #bbbbbb; --band: #ffffff;
    --success: #2a78b8; --refused: #c2410c; --abandoned: #8a7a2f; --other: #5b6ee1;
  }
  body { max-width: none; padding: 0; font-size: 10pt; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .figures div { border: 1px solid var(--rule); }
  .wide { overflow: visible; } details { display: none; } h2 { break-after: avoid; }
  thead { display: table-header-group; } tr, figure { break-inside: avoid; }
  table { font-size: 8pt; } .advice, .roles, .from, tbody th { min-width: 0; } th, td { padding: .2rem .35rem; }
}
"""
