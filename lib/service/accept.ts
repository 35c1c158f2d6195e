import { ServiceFailure } from './failure.js';

/**
 * The format that the client likes best, by the weights of its `Accept`; the first where any will do.
 *
 * @throws ServiceFailure NOT_ACCEPTABLE
 */
export function chosenFormat<Format extends string>(accept: string | null, formats: readonly Format[]): Format {
  const ranges = (accept === null || accept.trim() === '' ? '*/*' : accept).split(',').map((range) => {
    const [type = '', ...parameters] = range.split(';').map((part) => part.trim().toLowerCase());
    const weight = parameters.find((parameter) => parameter.startsWith('q='));
    return { type, weight: weight === undefined ? 1 : Number(weight.slice(2)) };
  });
  const weightOf = (format: Format): number => {
    // The most exact range counts: `image/png;q=0` refuses what `image/*` takes.
    for (const type of [format, `${format.split('/')[0]}/*`, '*/*']) {
      const range = ranges.find((each) => each.type === type);
      if (range !== undefined) return range.weight;
    }
    return 0;
  };
  let best: Format | null = null;
  for (const format of formats) {
    if (weightOf(format) > (best === null ? 0 : weightOf(best))) best = format;
  }
  if (best !== null) return best;
  throw new ServiceFailure('NOT_ACCEPTABLE', `The answer is one of ${formats.join(', ')}; Accept takes none of them.`);
}
