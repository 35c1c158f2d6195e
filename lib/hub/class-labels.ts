import { SightlineError } from '../support/errors.js';
import type { ModelCard } from '../models/card.js';
import { readImagenetLabels } from '../models/labels.js';

/** More classes than any image classifier has: a config that names class 4294967295 must not cost gigabytes. */
const MOST_CLASSES = 1_000_000;

/** One label per class from `{ "0": "cat", "2": "dog" }`: a number that is left out gets `class 1`. */
export function listLabels(byIndex: Readonly<Record<string, unknown>>, name: string, least = 0): string[] {
  const entries = Object.entries(byIndex).map(([key, label]) => [Number(key), label] as const);
  const count = entries.reduce((most, [index]) => Math.max(most, index + 1), least);
  if (
    !entries.every(
      ([index, label]) => Number.isSafeInteger(index) && index >= 0 && ['string', 'number'].includes(typeof label),
    ) ||
    count > MOST_CLASSES
  ) {
    throw new SightlineError('INVALID_CARD', `${name} does not give each class number one label.`);
  }
  const labels = Array.from({ length: count }, (_, index) => `class ${index}`);
  for (const [index, label] of entries) labels[index] = String(label);
  return labels;
}

/** `imagenet-1k` for the thousand that ship with the package, so that one list is shared by all cards. */
export async function labelsOfCard(labels: readonly string[] | null): Promise<Pick<ModelCard, 'labels'>> {
  if (labels === null || labels.length === 0) return {};
  if (labels.length !== 1000) return { labels: [...labels] };
  const imagenet = await readImagenetLabels();
  return { labels: labels.every((label, index) => label === imagenet[index]) ? 'imagenet-1k' : [...labels] };
}
