import type { ClassLabel, HeatMap, Prediction } from '../requests/heatmap.js';
import { METHODS, type MethodName } from '../methods/index.js';

const REGIONS = [
  ['upper left', 'top', 'upper right'],
  ['left', 'center', 'right'],
  ['lower left', 'bottom', 'lower right'],
] as const;

/** The ninth of a picture in which a point lies, in words. */
export function regionOf(x: number, y: number, width: number, height: number): string {
  const third = (value: number, size: number): 0 | 1 | 2 =>
    Math.min(2, Math.max(0, Math.floor((3 * value) / size))) as 0 | 1 | 2;
  return REGIONS[third(y, height)][third(x, width)];
}

/** `tabby (class 281)`; a model without labels calls its classes `class 281` anyway. */
export function className({ index, label }: ClassLabel): string {
  return index < 0 || label === `class ${index}` ? label : `${label} (class ${index})`;
}

/** What a map explains: methods that do not depend on the class say so. */
export function subjectOf(method: string, map: HeatMap): string {
  const of = map.layer === null ? '' : ` of ${map.layer}`;
  const isClassSpecific = METHODS[method as MethodName].isClassSpecific;
  const { target } = map;
  const rival = target.against ? ` rather than ${className(target.against)}` : '';
  const place = target.box === undefined ? '' : ` of box ${target.box}`;
  return `${method}${of}, ${isClassSpecific ? `for ${className(target)}${place}${rival}` : 'whatever the class'}`;
}

export function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

export function listPredictions(predictions: readonly Prediction[]): string {
  return predictions.map(({ label, score }) => `${label} ${percent(score)}`).join(', ');
}

/** What a map shows, in words: where it peaks, and the range of its values. */
export function describeMap(map: HeatMap): string {
  if (map.state === 'flat') return 'flat, every place counts the same';
  if (map.state === 'nan') return 'no map, it holds numbers that are not finite';
  const { row, column } = map.peak();
  const [height, width] = map.shape;
  return `peak at x ${column}, y ${row} of ${width} x ${height} (${regionOf(column + 0.5, row + 0.5, width, height)}), values ${short(map.min)} to ${short(map.max)}`;
}

/** Three significant digits. */
export function short(value: number): string {
  return String(Number(value.toPrecision(3)));
}

export function megabytes(bytes: number): string {
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(0)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** Seconds as people say them, rounded up: `3 min 20 s`. */
export function duration(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** What a shell runs to repeat this process. */
export function commandLine(): string {
  const quoted = (text: string): string =>
    /^[\w./=@%+:,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
  return ['npx', 'sightline', ...process.argv.slice(2)].map(quoted).join(' ');
}

/** Rows as lines with aligned columns. */
export function aligned(rows: readonly (readonly string[])[], indent = '  '): string[] {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, column) => (widths[column] = Math.max(widths[column] ?? 0, cell.length)));
  return rows.map((row) => (indent + row.map((cell, column) => cell.padEnd(widths[column]!)).join('  ')).trimEnd());
}
