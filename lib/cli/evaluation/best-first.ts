import type { Summary } from '../../requests/evaluate/evaluation.js';

/** One metric's rows, the best mean first, those without one last. */
export function bestFirst(summary: readonly Summary[], metric: string, better: 'higher' | 'lower'): Summary[] {
  const rank = ({ mean }: Summary): number => (Number.isNaN(mean) ? Infinity : better === 'higher' ? -mean : mean);
  return summary
    .filter((row) => row.metric === metric)
    .map((row) => ({ row, place: rank(row) }))
    .sort((a, b) => (a.place === b.place ? 0 : a.place - b.place))
    .map(({ row }) => row);
}
