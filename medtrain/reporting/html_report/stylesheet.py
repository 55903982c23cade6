"""How the page looks: in light and dark, from 400 pixels on, and on paper."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --ground: #ffffff; --raised: #f6f8fa; --ink: #1c2128; --soft: #57606a;
  --line: #d0d7de; --accent: #0072b2; --link: #0062a3; --warn: #a04000; --shade: 0, 114, 178;
  --blue: #0072b2; --vermilion: #d55e00; --green: #009e73; --amber: #e69f00; }
@media (prefers-color-scheme: dark) { :root { --ground: #14181d; --raised: #1d232a; --ink: #e6eaef; --soft: #a3adb8;
  --line: #3a434d; --accent: #56b4e9; --link: #7cc4f0; --warn: #f0a868; --shade: 86, 180, 233;
  --blue: #56b4e9; --vermilion: #ef8a4b; --green: #2fbf95; } }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 1rem; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI",
  Roboto, "Noto Sans", "DejaVu Sans", sans-serif; }
a { color: var(--link); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.skip { position: absolute; left: -100vw; top: 0; padding: .5rem 1rem; background: var(--ground); z-index: 2; }
.skip:focus { left: 0; }
header, .frame, footer { max-width: 1380px; margin: 0 auto; padding: 0 clamp(.9rem, 3vw, 2rem); }
header { padding-top: 1.6rem; }
header p { margin: .2rem 0 0; color: var(--soft); }
h1 { font-size: clamp(1.5rem, 4vw, 2.1rem); line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.35rem; margin: 0 0 .8rem; padding-top: 1.2rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .5rem; }
p { margin: .5rem 0; max-width: 75ch; }
nav { font-size: .92rem; margin: 1rem 0; }
nav ul { list-style: none; margin: 0; padding: 0; display: flex; flex-wrap: wrap; gap: .25rem 1rem; }
nav a { text-decoration: none; }
nav a:hover { text-decoration: underline; }
main { min-width: 0; }
section { margin-bottom: 2.2rem; }
@media (min-width: 1080px) {
  .frame { display: grid; grid-template-columns: 180px minmax(0, 1fr); gap: 2.5rem; }
  nav { position: sticky; top: 0; align-self: start; padding-top: 1.2rem; }
  nav ul { flex-direction: column; gap: .45rem; }
}
.note { color: var(--soft); font-size: .9rem; }
.warn { color: var(--warn); }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(160px, 1fr)); gap: .7rem; margin: 1rem 0;
  padding: 0; list-style: none; }
.tiles li { background: var(--raised); border: 1px solid var(--line); border-radius: 8px; padding: .7rem .9rem; }
.tiles .name { display: block; color: var(--soft); font-size: .88rem; }
.tiles .value { display: block; font-size: 1.55rem; font-weight: 650; font-variant-numeric: tabular-nums; }
.tiles .under { display: block; color: var(--soft); font-size: .84rem; font-variant-numeric: tabular-nums; }
.tiles li:first-child { border-left: 4px solid var(--accent); }
.scroll { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: separate; border-spacing: 0; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding: .2rem 0 .4rem; font-size: .9rem; }
th, td { padding: .28rem .7rem; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top;
  white-space: nowrap; }
thead th { font-weight: 600; white-space: normal; vertical-align: bottom; border-bottom: 2px solid var(--line); }
thead th[colspan]:not([colspan="1"]) { text-align: center; border-bottom: 1px solid var(--line); }
tfoot { display: table-row-group; }
tbody th, tfoot th { font-weight: 500; text-align: left; position: sticky; left: 0; background: var(--ground); }
th.word, td.word { text-align: left; }
table.wrap td, table.wrap th { white-space: normal; overflow-wrap: break-word; }
table.wrap td { min-width: 9rem; }
.interval { color: var(--soft); font-size: .92em; white-space: nowrap; }
.none { color: var(--soft); }
table.matrix { border-collapse: collapse; }
table.matrix td, table.matrix tbody th, table.matrix thead th { border: 1px solid var(--line); }
table.matrix td { text-align: center; min-width: 4.6rem; }
table.matrix td { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
table.matrix .share { display: block; font-size: .84em; }
table.matrix td.right { font-weight: 650; }
dl.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 270px), 1fr)); gap: .5rem 1.4rem;
  margin: .6rem 0; }
dl.facts dt { color: var(--soft); font-size: .86rem; }
dl.facts dd { margin: 0; overflow-wrap: anywhere; }
code { font: .88em ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
code.flag { white-space: nowrap; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 290px), 1fr)); gap: 1rem 1.4rem;
  margin: 1rem 0; }
.small { grid-template-columns: repeat(auto-fill, minmax(min(100%, 235px), 1fr)); }
figure { margin: 0; min-width: 0; }
figure svg { display: block; width: 100%; height: auto; overflow: visible; }
.pair { display: flex; gap: 3px; }
.pair img { display: block; width: 50%; height: auto; }
figcaption { font-size: .88rem; color: var(--soft); margin-top: .2rem; }
svg .hover { fill: transparent; }
svg .hover:hover { stroke: currentColor; stroke-width: 1.5px; }
svg text { font-family: inherit; }
thead button { all: unset; cursor: pointer; box-sizing: border-box; }
thead button:hover { text-decoration: underline; }
thead button:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
[aria-sort] button::after { content: "\u00a0↕"; content: "\u00a0↕" / ""; color: var(--soft); font-weight: 400; }
[aria-sort=ascending] button::after { content: "\u00a0↑"; content: "\u00a0↑" / ""; }
[aria-sort=descending] button::after { content: "\u00a0↓"; content: "\u00a0↓" / ""; }
[aria-sort$=cending] button::after { color: var(--accent); font-weight: 700; }
.filter { display: block; margin: .8rem 0 -.3rem; font-size: .9rem; color: var(--soft); }
.filter input { font: inherit; color: var(--ink); background: var(--raised); border: 1px solid var(--soft);
  border-radius: 5px; padding: .2rem .5rem; width: 14rem; max-width: 55%; }
details { margin: .8rem 0; }
summary { cursor: pointer; color: var(--link); font-size: .92rem; }
footer { border-top: 1px solid var(--line); padding-top: 1rem; padding-bottom: 2rem; color: var(--soft);
  font-size: .88rem; }
@media print {
  :root { color-scheme: light; --ground: #fff; --raised: #fff; --ink: #000; --soft: #444; --line: #bbb;
    --accent: #0072b2; --link: #000; --warn: #000; --shade: 0, 114, 178;
    --blue: #0072b2; --vermilion: #d55e00; --green: #009e73; }
  @page { margin: 15mm 13mm; }
  body { font-size: 10pt; }
  nav, .skip, .filter { display: none; }
  thead button::after { content: none !important; }
  tr[hidden] { display: table-row !important; }
  .frame { display: block; }
  .scroll { overflow: visible; }
  table { font-size: 8pt; }
  th, td { padding: .15rem .4rem; white-space: normal; }
  tbody th, tfoot th { position: static; }
  table.matrix td { min-width: 0; }
  .figures { grid-template-columns: repeat(3, 1fr); }
  .figures.wide { grid-template-columns: repeat(2, 1fr); }
  figure, tr, .tiles li, dl.facts div { break-inside: avoid; }
  tbody tr:nth-child(-n+2), footer { break-before: avoid; }
  h2, h3, caption { break-after: avoid; }
  details:not(.screen)::details-content { content-visibility: visible; block-size: auto; }
  details.screen { display: none; }
  a { text-decoration: none; }
}
"""
