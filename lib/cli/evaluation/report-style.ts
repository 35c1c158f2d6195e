/** The looks of a report, of a light screen and of a dark one. */
export const REPORT_STYLE = `
:root { color-scheme: light dark; --ground: #ffffff; --ink: #1f2328; --faint: #59636e; --line: #d1d9e0; --best: #dafbe1; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #0d1117; --ink: #e6edf3; --faint: #9198a1; --line: #3d444d; --best: #12361f; }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif;
}
main { max-width: 1260px; margin: 0 auto; padding: 24px 16px 64px; }
h1 { font-size: 26px; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 20px; margin: 40px 0 8px; padding-top: 16px; border-top: 1px solid var(--line); }
h3 { font-size: 16px; margin: 24px 0 8px; overflow-wrap: anywhere; }
p { margin: 4px 0; max-width: 75ch; }
.faint, figcaption, caption { color: var(--faint); }
.wide { overflow-x: auto; }
code { overflow-wrap: anywhere; font-size: 13px; }
table { margin: 8px 0; border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; }
th, td { padding: 4px 12px; text-align: left; border-bottom: 1px solid var(--line); unicode-bidi: isolate; }
td.number, th.number { text-align: right; white-space: nowrap; }
tbody + tbody tr:first-child > * { border-top: 2px solid var(--line); }
tr.best td { background: var(--best); }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(560px, 100%), 1fr)); gap: 16px; }
.plots svg { max-width: 100%; height: auto; }
.pictures { display: flex; gap: 12px; margin: 0 0 16px; overflow-x: auto; }
figure { margin: 0; }
.pictures figure { flex: none; width: 224px; }
.pictures img { display: block; width: 224px; height: auto; border-radius: 4px; }
figcaption { font-size: 13px; overflow-wrap: anywhere; unicode-bidi: isolate; }
figcaption b { color: var(--ink); font-weight: 600; }
`;
