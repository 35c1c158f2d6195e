/**
 * Names the counts of a plan: a number that comes from an option or from the model's shape gets the letter for it. A
 * letter is taken only where it gives the right number on every model that is compared, so it is no guess from one of
 * them.
 *
 * @typedef {import('../../dist/engine/inspection.js').Inspection} Inspection
 * @typedef {{ inspection: Inspection, settings: Readonly<Record<string, unknown>>, layer: string | null, count: number
 * }} Sighting
 */

/** @param {Sighting} sighting @returns {[string, number][]} products and sums of the model's letters and the options */
function candidates({ inspection, settings, layer }) {
  const { height, width, attention, nodes } = inspection;
  const node = nodes.find(({ name }) => name === layer);
  const channels =
    node === undefined
      ? NaN
      : /** @type {number} */ (node.layout === 'channels-first' ? node.shape[1] : node.shape.at(-1));
  const tokens = attention.at(-1)?.tokens ?? NaN;
  const blocks = attention.length || NaN;
  const options = Object.entries(settings).flatMap(([name, value]) =>
    typeof value === 'number' && value > 0 ? [/** @type {[string, number]} */ ([name, value])] : [],
  );
  const { window, stride } = settings;
  const along = (/** @type {number} */ side) =>
    typeof window === 'number' && typeof stride === 'number' ? Math.ceil((side - window) / stride) + 1 : NaN;
  return [
    ...options,
    ['W', along(height) * along(width)],
    ['C', channels],
    ['(C + 1)', channels + 1],
    ...options.map(([name, value]) => /** @type {[string, number]} */ ([`${name}·C`, value * channels])),
    ['T', tokens],
    ['L', blocks],
    ['(L - 1)', blocks - 1],
    ['2L', 2 * blocks],
    ['(2L - 1)', 2 * blocks - 1],
  ];
}

/**
 * @param {readonly Sighting[]} sightings the same place of one method's plan on several models
 * @param {boolean} isLoop whether the number is a loop's, and so an option's wherever one has its value
 */
export function symbolOf(sightings, isLoop) {
  const counts = sightings.map(({ count }) => count);
  const isSame = counts.every((count) => count === counts[0]);
  if (isSame && !isLoop) return String(counts[0]);
  const [first, ...others] = sightings.map(candidates);
  const found = first?.find(
    ([name, value]) =>
      value === counts[0] &&
      others.every((list, i) => list.some(([other, there]) => other === name && there === counts[i + 1])),
  );
  return found?.[0] ?? (isSame ? String(counts[0]) : counts.join(' or '));
}
