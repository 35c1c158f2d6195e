/**
 * The tables of docs/cost.md.
 *
 * @typedef {import('../../dist/engine/inspection.js').Inspection} Inspection
 * @typedef {import('./count.mjs').Pass} Pass
 * @typedef {import('../../dist/engine/plan-description.js').PlanDescription} Plan
 * @typedef {{ name: string, inspection: Inspection }} Subject a model as it was inspected, by the name that its bench
 * is known by
 * @typedef {{ plan: Plan, settings: Readonly<Record<string, unknown>>, layer: string | null }} Recorded
 * @typedef {(method: string, inspection: Inspection) => Recorded | null} Recorder null where the method does not apply
 * @typedef {import('../../dist/bench/report.js').BenchReport} Report
 */
import { after, total, whole } from './arithmetic.mjs';
import { passesOf, timesOf } from './count.mjs';
import { symbolOf } from './symbols.mjs';

const LETTERS = { forward: 'F', resume: 'R', gradient: 'B' };
/** How often a loop with a limit runs is known as it runs; figures take the most. */
const AS_IT_RUNS = 'K';
const NO_MEASURE = '–';

/** Passes of a kind: the same operation, for each target or not, in the same loops. @param {readonly Pass[]} passes */
function kindsOf(passes) {
  /** @type {Map<string, Pass[]>} */
  const kinds = new Map();
  for (const pass of passes) {
    const key = [pass.loops.length, pass.perTarget, pass.op, pass.isTwice].join(' ');
    kinds.set(key, [...(kinds.get(key) ?? []), pass]);
  }
  return kinds;
}

/**
 * What a method needs in symbols, such as `F + samples·(F + t·B)`; t: targets. The same on all the models or, where it
 * is not, an error: they are no family.
 *
 * @param {readonly { recorded: Recorded, inspection: Inspection }[]} family
 */
export function formulaOf(family) {
  const all = family.map(({ recorded, inspection }) => ({
    recorded,
    inspection,
    kinds: kindsOf(passesOf(recorded.plan)),
  }));
  const [first] = all;
  if (first === undefined) return '';
  /** @type {Map<string, string[]>} */
  const terms = new Map();
  for (const [key, passes] of first.kinds) {
    const sightings = (/** @type {(passes: readonly Pass[]) => number} */ of) =>
      all.map(({ recorded: { settings, layer }, inspection, kinds }) => {
        const same = kinds.get(key);
        if (same === undefined) {
          throw new Error(`${first.recorded.plan.method} runs in other ways on the models of one family.`);
        }
        return { inspection, settings, layer, count: of(same) };
      });
    const { loops, perTarget, op, isTwice } = /** @type {Pass} */ (passes[0]);
    const loop = loops
      .map((_, depth) =>
        loops[depth]?.limited
          ? AS_IT_RUNS
          : symbolOf(
              sightings((same) => same[0]?.loops[depth]?.count ?? NaN),
              true,
            ),
      )
      .join('·');
    const steps = symbolOf(
      sightings((same) => same.length),
      false,
    );
    const term = [steps === '1' ? '' : steps, perTarget ? 't' : '', `${LETTERS[op]}${isTwice ? '′' : ''}`]
      .filter(Boolean)
      .join('·');
    terms.set(loop, [...(terms.get(loop) ?? []), term]);
  }
  const order = ['F', 'R', 'B', '′'];
  const rank = (/** @type {string} */ term) =>
    order.findIndex((letter) => term.endsWith(letter)) + (/(^|·)t·/.test(term) ? 10 : 0);
  return [...terms]
    .sort(([a], [b]) => a.length - b.length)
    .map(([loop, inside]) => {
      const sum = inside.sort((a, b) => rank(a) - rank(b)).join(' + ');
      if (loop === '') return sum;
      if (inside.length > 1) return `${loop}·(${sum})`;
      const [, number = '', letter = sum] = /^(\d+·)(.*)$/.exec(sum) ?? [];
      return `${number}${loop}·${letter}`;
    })
    .join(' + ');
}

/** How many of each pass, of one image and one target. @param {readonly Pass[]} passes */
export function countsOf(passes) {
  const counts = { forward: 0, resume: 0, gradient: 0 };
  for (const pass of passes) counts[pass.op] += timesOf(pass);
  return counts;
}

/** @param {number} value */
function short(value) {
  if (value >= 100) return Math.round(value).toLocaleString('en-US');
  return String(Number(value.toPrecision(value >= 10 ? 3 : 2)));
}

/**
 * The share that one more target adds, as a multiple of the forward pass.
 * @param {readonly Pass[]} passes
 * @param {Inspection} inspection
 */
function perTarget(passes, inspection) {
  const more = total(passes, inspection, 2).flops - total(passes, inspection, 1).flops;
  return more / whole(inspection).flops;
}

/**
 * What was measured of a model: by column, by method as it was asked for without options.
 *
 * @param {Report | null} report
 * @param {string} model
 * @returns {Map<string, Map<string, number>>}
 */
export function measuredOf(report, model) {
  /** @type {Map<string, Map<string, number>>} */
  const columns = new Map();
  for (const { model: named, device, dtype, batch, job, ratio } of report?.throughput ?? []) {
    const name = (named.split(/[/\\]/).at(-1) ?? named).replace(/\.pt$/, '');
    if (name !== model || job === 'forward') continue;
    const head = `measured × F, ${device} ${dtype}, batch ${batch}`;
    columns.set(head, (columns.get(head) ?? new Map()).set(job, ratio.median));
  }
  return columns;
}

/**
 * A table of every method that applies: what it needs in symbols, and on the family's first model.
 *
 * @param {readonly Subject[]} family the first is the one whose figures are shown; letters must fit all
 * @param {readonly string[]} methods
 * @param {Recorder} record
 * @param {Report | null} report
 */
export function passTable(family, methods, record, report = null) {
  const shown = /** @type {Subject} */ (family[0]);
  const measured = measuredOf(report, shown.name);
  const rows = methods.flatMap((method) => {
    const recorded = family.flatMap(({ inspection }) => {
      const found = record(method, inspection);
      return found === null ? [] : [{ recorded: found, inspection }];
    });
    if (recorded.length < family.length) return [];
    const passes = passesOf(/** @type {(typeof recorded)[number]} */ (recorded[0]).recorded.plan);
    const { forward, resume, gradient } = countsOf(passes);
    const { flops, bytes } = total(passes, shown.inspection);
    const figures = [forward, resume, gradient].map((count) => (count === 0 ? '' : count.toLocaleString('en-US')));
    const more = perTarget(passes, shown.inspection);
    return [
      [
        `[${method}](methods/${method}.md)`,
        formulaOf(recorded),
        ...figures,
        short(flops / 1e9),
        short(flops / whole(shown.inspection).flops),
        more < 5e-4 ? '0' : short(more),
        short(bytes / 1e9),
        ...[...measured.values()].map((jobs) => jobs.get(method)?.toFixed(2) ?? NO_MEASURE),
      ],
    ];
  });
  const head = [
    'method',
    'per image',
    'F',
    'R',
    'B',
    'GFLOP',
    '× F',
    'each further target × F',
    'activations, GB',
    ...measured.keys(),
  ];
  return markdown(head, rows, 2);
}

/**
 * What one forward pass is, model by model.
 *
 * @param {readonly Subject[]} subjects
 */
export function modelTable(subjects) {
  const rows = subjects.map(
    ({ name, inspection: { height, width, flops, parameters, activationBytes, operators, targetLayer, nodes } }) => {
      const { kind, node } = { kind: /** @type {const} */ ('node'), node: targetLayer };
      const behind = after(/** @type {Inspection} */ ({ nodes }), { kind, node }).flops;
      return [
        name,
        `${width} × ${height}`,
        (parameters ?? NaN).toLocaleString('en-US'),
        short((4 * (parameters ?? NaN)) / 1e6),
        short((flops ?? NaN) / 1e9),
        short(activationBytes / 1e6),
        operators.toLocaleString('en-US'),
        targetLayer,
        `${short((100 * behind) / (flops ?? NaN))} %`,
      ];
    },
  );
  return markdown(
    [
      'model',
      'input',
      'parameters',
      'weights in f32, MB',
      'GFLOP',
      'activations, MB',
      'operators',
      'target layer',
      'of the GFLOP after it',
    ],
    rows,
    1,
  );
}

/**
 * The first `left` columns hold words.
 * @param {readonly string[]} head
 * @param {readonly (readonly string[])[]} rows
 * @param {number} left
 */
function markdown(head, rows, left) {
  const line = (/** @type {readonly string[]} */ cells) => `| ${cells.join(' | ')} |`;
  return [line(head), `|${head.map((_, i) => (i < left ? '---' : '---:')).join('|')}|`, ...rows.map(line)].join('\n');
}

/** A table without the columns that were measured: those of a bench that not everybody has. @param {string} table */
export function withoutMeasured(table) {
  const lines = table.split('\n').map((line) => line.slice(2, -2).split(/ \| /));
  const heads = (table.split('\n')[0] ?? '').slice(2, -2).split(' | ');
  const kept = heads.flatMap((head, i) => (head.startsWith('measured') ? [] : [i]));
  return lines
    .map((cells, i) =>
      i === 1
        ? `|${(table.split('\n')[1] ?? '')
            .slice(1, -1)
            .split('|')
            .filter((_, c) => kept.includes(c))
            .join('|')}|`
        : `| ${kept.map((c) => cells[c] ?? '').join(' | ')} |`,
    )
    .join('\n');
}

/**
 * The text between `<!-- NAME ... -->` and `<!-- end -->`, without the empty lines that the formatter puts there.
 *
 * @param {string} page
 * @param {string} name
 */
export function sectionOf(page, name) {
  const found = new RegExp(`(<!-- ${name}\\b[^>]*-->\\n\\n)([\\s\\S]*?)(\\n\\n<!-- end -->)`).exec(page);
  if (found === null) throw new Error(`The page has no section <!-- ${name} --> ... <!-- end -->.`);
  return {
    before: page.slice(0, found.index + (found[1]?.length ?? 0)),
    text: found[2] ?? '',
    behind: page.slice(found.index + (found[1]?.length ?? 0) + (found[2]?.length ?? 0)),
  };
}

/** @param {string} page @param {string} name @param {string} text */
export function replaceSection(page, name, text) {
  const { before, behind } = sectionOf(page, name);
  return `${before}${text}${behind}`;
}
