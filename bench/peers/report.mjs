/** What was measured, as text and as JSON. */
import { median } from './statistics.mjs';

/** @param {number} value @param {number} [digits] */
const fixed = (value, digits = 2) => value.toFixed(digits);
/** @param {{ median: number, low: number, high: number }} ratio */
const withSpread = ({ median, low, high }) => `${fixed(median)} (${fixed(low)} to ${fixed(high)})`;
/** @param {number} bytes */
const mebibytes = (bytes) => `${Math.round(bytes / 2 ** 20)} MiB`;

/** @param {readonly string[][]} rows the first is the head */
export function columns(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]) : cell.padStart(widths[column])))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/**
 * When, where and with what it was measured.
 *
 * @param {{ started: string, machine: { cpu: string, cores: number, loadBefore: number[] }, settings: { batch: number,
 * rounds: number, threads: number, gompSpinCount: string },
 *   versions: { sightline: string, ours: { node: string, libtorch: string, cpuCapability: string }, peers: { python:
 *   string, versions: Record<string, string | null> } | null } }} about
 */
export function headText({ started, machine, settings, versions }) {
  const { sightline, ours, peers } = versions;
  const packages = peers
    ? Object.entries(peers.versions).map(([name, version]) => (version === null ? `no ${name}` : `${name} ${version}`))
    : [];
  return [
    `${started}; ${machine.cpu}, ${machine.cores} cores, load ${fixed(machine.loadBefore[0])} before`,
    `batch ${settings.batch}, ${settings.rounds} rounds, ${settings.threads} threads on either side, GOMP_SPINCOUNT ${settings.gompSpinCount}`,
    `sightline ${sightline}, LibTorch ${ours.libtorch} (${ours.cpuCapability}), Node ${ours.node}${peers ? `; Python ${peers.python}, ${packages.join(', ')}` : ''}`,
  ].join('\n');
}

/** One job's times and ratios. @param {import('./measure.mjs').JobResult} job */
export function jobText(job) {
  const hasBase = job.contestants.some(({ name }) => name === 'base');
  const hasBf16 = job.contestants.some(({ name }) => name === 'ours-bf16');
  const hasMemory = job.contestants.some(({ growth }) => growth !== null);
  const ratio = (/** @type {string} */ of, /** @type {string} */ to) => {
    const found = of === to ? null : job.ratioOf(of, to, 'time');
    return found ? withSpread(found) : '';
  };
  const rows = [
    [
      '',
      'ms',
      'images/s',
      ...(hasBase ? ['over base'] : []),
      'over ours',
      ...(hasBf16 ? ['over our bf16'] : []),
      ...(hasMemory ? ['added peak'] : []),
    ],
  ];
  for (const { name, seconds, growth, failure } of job.contestants) {
    if (failure !== null) continue;
    const middle = median(seconds);
    rows.push([
      name,
      fixed(middle * 1000, 1),
      fixed(job.images / middle),
      ...(hasBase ? [ratio(name, 'base')] : []),
      ratio(name, 'ours'),
      ...(hasBf16 ? [ratio(name, 'ours-bf16')] : []),
      ...(hasMemory ? [growth === null ? 'not measured' : mebibytes(growth)] : []),
    ]);
  }
  const lines = [
    `${job.name}: ${job.images} image${job.images === 1 ? '' : 's'}${job.network ? ` of ${job.network}` : ''}, ${Math.max(...job.contestants.map(({ seconds }) => seconds.length))} rounds`,
    columns(rows),
  ];
  for (const { name, failure, idleShare } of job.contestants) {
    if (failure !== null) lines.push(`  ${name}: ${failure}`);
    else if (idleShare > 0.1) {
      lines.push(
        `  ${name}: its process took ${Math.round(idleShare * 100)} % of a core while it waited, and may have slowed the others`,
      );
    }
  }
  for (const { peer, figure, value, limit, agrees, note } of job.comparisons) {
    const verdict =
      limit === null
        ? agrees
          ? ''
          : ', NOT comparable'
        : agrees
          ? `, as asked (${figure === 'largest difference' ? 'at most' : 'at least'} ${limit})`
          : `, NOT the same job (${figure === 'largest difference' ? 'at most' : 'at least'} ${limit} was asked)`;
    lines.push(
      `  answer of ${peer}: ${figure} ${Number.isNaN(value) ? 'none' : value.toPrecision(3)}${verdict}${note ? `; ${note}` : ''}`,
    );
  }
  return lines.join('\n');
}

/** @param {readonly import('./limits.mjs').Verdict[]} verdicts */
export function tableText(verdicts) {
  const rows = [['limit', 'measured', 'asked', '']];
  let title = '';
  /** @type {string[]} */
  const reasons = [];
  for (const check of verdicts) {
    if (check.title !== title) rows.push([(title = check.title), '', '', '']);
    const asked = check.least !== undefined ? `at least ${check.least}` : `at most ${check.most}`;
    rows.push([
      `  ${check.job}: ${check.of} / ${check.to}${check.quantity === 'memory' ? ', added memory' : ''}`,
      check.value === null ? '-' : fixed(check.value, 3),
      asked,
      check.verdict,
    ]);
    if (check.reason !== null) reasons.push(`  ${check.job}, ${check.of} / ${check.to}: ${check.reason}`);
  }
  const count = (/** @type {string} */ verdict) => verdicts.filter((check) => check.verdict === verdict).length;
  const summary = `${count('pass')} of ${verdicts.length} limits hold, ${count('FAIL')} do not, ${count('not measured')} were not measured.`;
  return [columns(rows), ...(reasons.length > 0 ? ['not measured:', ...reasons] : []), summary].join('\n');
}

/** A job as data: times in seconds, memory in bytes. @param {import('./measure.mjs').JobResult} job */
export function jobData({ ratioOf, ...job }) {
  const ratios = ['base', 'ours', 'ours-bf16'].flatMap((to) =>
    job.contestants.flatMap(({ name: of }) => {
      const found = of === to ? null : ratioOf(of, to, 'time');
      return found ? [{ of, to, ...found }] : [];
    }),
  );
  const contestants = job.contestants.map((found) => ({
    ...found,
    medianSeconds: found.seconds.length > 0 ? median(found.seconds) : null,
  }));
  return { ...job, contestants, ratios };
}
