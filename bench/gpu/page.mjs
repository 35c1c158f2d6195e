/** The page of one measurement: verdicts, plots, figures. */

/** @param {unknown} value */
const escaped = (value) => String(value).replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');

/** @param {string[]} head @param {unknown[][]} rows */
const table = (head, rows) =>
  `<table><tr>${head.map((cell) => `<th>${escaped(cell)}</th>`).join('')}</tr>${rows
    .map((row) => `<tr>${row.map((cell) => `<td>${escaped(cell)}</td>`).join('')}</tr>`)
    .join('\n')}</table>`;

/**
 * @param {{
 *   device: string;
 *   dtype: string;
 *   batch: number;
 *   rounds: number;
 *   verdicts: import('./limits.mjs').Verdict[];
 *   python: import('./limits.mjs').Python & { torch: string | null; gpu: string | null };
 *   report: import('./limits.mjs').Report;
 * }} measured
 * @param {Record<string, string | null>} plots
 */
export function pageOf({ device, dtype, batch, rounds, verdicts, python, report }, plots) {
  const { machine, versions, date } = report;
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>sightline on ${escaped(device)}</title>
<style>body{font:16px sans-serif;max-width:60rem;margin:2rem auto}td,th{padding:.2rem .8rem;text-align:left}</style>
<h1>sightline on ${escaped(python.gpu ?? device)}</h1>
<p>${escaped(date)}: ${escaped(dtype)}, batch ${batch}, ${rounds} rounds, on ${escaped(machine.cpu)};
sightline ${escaped(versions.sightline)}, LibTorch ${escaped(versions.libtorch)}, torch ${escaped(python.torch)}.
Weights are random.</p>
<h2>What is aimed at</h2>
${table(
  ['', 'limit', 'found', ''],
  verdicts.map(({ what, limit, found, verdict }) => [what, limit, found, verdict]),
)}
<h2>sightline</h2>
${Object.values(plots)
  .filter((svg) => svg !== null)
  .join('\n')}
${table(
  ['network', 'job', 'batch', 'images/s', 'x forward'],
  report.throughput.map((row) => [
    row.model,
    row.job,
    row.batch,
    row.imagesPerSecond.median.toFixed(1),
    row.ratio.median.toFixed(2),
  ]),
)}
<h2>PyTorch</h2>
${table(
  ['network', 'how', 'images/s'],
  [
    ...python.rows.map(({ network, how, imagesPerSecond }) => [network, how, imagesPerSecond.toFixed(1)]),
    ...python.missing.map(({ network, how, why }) => [network, how, `not measured: ${why}`]),
  ],
)}
</html>
`;
}
