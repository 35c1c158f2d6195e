import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { z } from 'zod';

import { SightlineError } from '../support/errors.js';
import { parseCard, type ModelCard, type ModelWeights } from './card.js';
import { BUNDLED_MODELS } from './labels.js';

/** A pretrained model that `sightline pull` fetches: the card of a checkpoint on the hub. */
export type CatalogCard = ModelCard & {
  readonly architecture: string;
  readonly weights: ModelWeights;
  readonly parameters: number;
  readonly flops: number;
};

/** A length in pixels or channels, or what it follows: the number of classes, or of tokens (so, of patches). */
const length = z.union([z.int().min(1), z.literal(['classes', 'tokens'])]);

const skeletonSchema = z.strictObject({
  architecture: z.string(),
  /** The library, its version and the definition that was traced. */
  source: z.string(),
  /** Of the archive. */
  sha256: z.string(),
  /** The usual side of an image in px; what `parameters` and `flops` are counted at, with 1000 classes. */
  size: z.int(),
  /** Whether the graph is right for images of that size alone: windows, masks or rotary positions are part of it. */
  fixedSize: z.literal(true).optional(),
  /** timm's models of the same names and shapes that compute something else. */
  alike: z.array(z.string()).optional(),
  targetLayer: z.string(),
  parameters: z.int(),
  flops: z.int(),
  /** Of all its layer norms; absent where there are none. */
  layerNormEps: z.number().optional(),
  /** Tensors of the archive that no operator reads; a checkpoint may have them or not. */
  unused: z.array(z.string()),
  /** Shape of every tensor that a checkpoint must bring, by its name in the archive. */
  tensors: z.record(z.string(), z.array(length)),
});

/** What is known of an archive without weights. */
export type SkeletonCard = z.infer<typeof skeletonSchema>;

/**
 * Every model of the catalog, by name.
 *
 * @param folder for tests; default the package's `models/`
 * @throws SightlineError INVALID_CARD
 */
export async function catalog(folder: string = BUNDLED_MODELS): Promise<CatalogCard[]> {
  const names = await catalogNames(folder);
  return Promise.all(names.map((name) => readCatalogCard(name, folder)));
}

/** The names of the catalog's models, sorted. */
export async function catalogNames(folder: string = BUNDLED_MODELS): Promise<string[]> {
  let files: string[];
  try {
    files = await readdir(join(folder, 'catalogue'));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw cause;
  }
  return files
    .filter((file) => file.endsWith('.json'))
    .map((file) => file.slice(0, -'.json'.length))
    .sort();
}

/** The catalog's card of that name, null where there is none. */
export async function cataloged(name: string, folder: string = BUNDLED_MODELS): Promise<CatalogCard | null> {
  return (await catalogNames(folder)).includes(name) ? readCatalogCard(name, folder) : null;
}

/** The names of the architectures that checkpoints can be loaded into, sorted. */
export async function architectures(folder: string = BUNDLED_MODELS): Promise<string[]> {
  const files = await readdir(join(folder, 'skeletons'));
  return files
    .filter((file) => file.endsWith('.pt'))
    .map((file) => file.slice(0, -'.pt'.length))
    .sort();
}

/**
 * The archive of an architecture without its weights, and its card.
 *
 * @throws SightlineError UNSUPPORTED_MODEL where there is no such architecture, INVALID_CARD where the package is
 * damaged.
 */
export async function skeletonOf(
  architecture: string,
  folder: string = BUNDLED_MODELS,
): Promise<{ archive: string; card: SkeletonCard }> {
  const known = await architectures(folder);
  if (!known.includes(architecture)) {
    throw new SightlineError(
      'UNSUPPORTED_MODEL',
      `There is no skeleton of the architecture "${architecture}"; there are those of ${known.join(', ')}.`,
      { details: { known } },
    );
  }
  const path = join(folder, 'skeletons', `${architecture}.json`);
  return {
    archive: join(folder, 'skeletons', `${architecture}.pt`),
    card: folder === BUNDLED_MODELS ? await bundledSkeleton(path) : await readSkeleton(path),
  };
}

/** Read once: a checkpoint without a card is compared with all of them. */
const bundledSkeletons = new Map<string, Promise<SkeletonCard>>();

function bundledSkeleton(path: string): Promise<SkeletonCard> {
  let card = bundledSkeletons.get(path);
  if (card === undefined) {
    bundledSkeletons.set(path, (card = readSkeleton(path)));
    card.catch(() => bundledSkeletons.delete(path));
  }
  return card;
}

async function readSkeleton(path: string): Promise<SkeletonCard> {
  return parseSkeletonCard(await readFile(path, 'utf8'), path);
}

function parseSkeletonCard(text: string, path: string): SkeletonCard {
  let cause: unknown;
  try {
    const parsed = skeletonSchema.safeParse(JSON.parse(text));
    if (parsed.success) return parsed.data;
    cause = parsed.error;
  } catch (error) {
    cause = error;
  }
  throw new SightlineError('INVALID_CARD', `The card ${path} is damaged; install the package again.`, { cause });
}

async function readCatalogCard(name: string, folder: string): Promise<CatalogCard> {
  const path = join(folder, 'catalogue', `${name}.json`);
  const card = parseCard(await readFile(path, 'utf8'), path);
  const { architecture, weights, parameters, flops } = card;
  if (architecture === undefined || weights === undefined || parameters === undefined || flops === undefined) {
    throw new SightlineError(
      'INVALID_CARD',
      `The card ${path} of the catalog must have "architecture", "weights", "parameters" and "flops".`,
    );
  }
  return { ...card, architecture, weights, parameters, flops };
}
