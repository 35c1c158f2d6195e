import type { TensorPart } from '../engine/weight-plan.js';
import type { Naming } from '../models/card.js';
import { architectures, skeletonOf } from '../models/catalog.js';
import { SightlineError } from '../support/errors.js';
import { detectNaming, planWeights } from './plan.js';

/** Which of the skeletons a checkpoint is for. */
export interface FoundArchitecture {
  readonly architecture: string;
  /** What could not be told from names and shapes, as sentences. */
  readonly notes: readonly string[];
}

interface Refused {
  readonly architecture: string;
  readonly faults: number;
  readonly error: SightlineError;
}

/**
 * Finds the architecture of a checkpoint by the names and shapes of its tensors.
 *
 * @param files and their headers, as for `planWeights`
 * @param layerNormEps where it is known
 * @throws SightlineError INVALID_WEIGHTS that names the nearest where none fits, and all where several do
 */
export async function findArchitecture(
  files: readonly string[],
  headers: readonly ReadonlyMap<string, TensorPart>[],
  naming: Naming | 'auto',
  layerNormEps?: number,
): Promise<FoundArchitecture> {
  const fitting: FoundArchitecture[] = [];
  const refused: Refused[] = [];
  for (const architecture of await architectures()) {
    const { card } = await skeletonOf(architecture);
    try {
      planWeights(card, files, headers, naming);
      const names = naming === 'auto' ? detectNaming(card, keysOf(headers), files[0]!) : naming;
      const notes: string[] = [];
      if (names === 'huggingface' && card.layerNormEps !== undefined && layerNormEps === undefined) {
        notes.push(
          `${files[0]} comes without its config.json, so ${card.layerNormEps} is taken for the epsilon of its layer norms; a card's weights.layerNormEps says another.`,
        );
      }
      if (names === 'timm' && card.alike !== undefined) {
        notes.push(
          `${files[0]} is taken for ${architecture}, but timm's ${card.alike.join(', ')} ${card.alike.length === 1 ? 'has' : 'have'} the same names and shapes and ${card.alike.length === 1 ? 'computes' : 'compute'} something else; a card that says "architecture": "${architecture}" confirms it.`,
        );
      }
      fitting.push({ architecture, notes });
    } catch (error) {
      if (!(error instanceof SightlineError) || error.code !== 'INVALID_WEIGHTS') throw error;
      const faults = faultsOf(error);
      if (faults !== null) refused.push({ architecture, faults, error });
    }
  }
  const [found, other] = fitting;
  if (found !== undefined && other === undefined) return found;
  if (found !== undefined) {
    const names = fitting.map(({ architecture }) => architecture);
    throw new SightlineError(
      'INVALID_WEIGHTS',
      `${files[0]} fits ${names.join(' and ')}: give a card that says which "architecture" it is.`,
      { details: { architectures: names } },
    );
  }
  const nearest = refused.sort((a, b) => a.faults - b.faults)[0];
  const all = (await architectures()).join(', ');
  if (nearest === undefined) {
    throw new SightlineError(
      'INVALID_WEIGHTS',
      `${files[0]} is a checkpoint of no architecture that sightline has (${all}); export the model with models/export.py.`,
      { details: { nearest: null } },
    );
  }
  throw new SightlineError(
    'INVALID_WEIGHTS',
    `${files[0]} fits no architecture that sightline has; the nearest is ${nearest.architecture}: ${nearest.error.message.replace(/; check that .*$/, '')}. Export the model with models/export.py.`,
    { cause: nearest.error, details: { nearest: nearest.architecture } },
  );
}

function keysOf(headers: readonly ReadonlyMap<string, TensorPart>[]): string[] {
  return headers.flatMap((header) => [...header.keys()]);
}

/** How many tensors stand in the way; null where not one name is known. */
function faultsOf(error: SightlineError): number | null {
  const { missing, misshapen, extra } = error.details as Record<string, readonly string[] | undefined>;
  return missing && misshapen && extra ? missing.length + misshapen.length + extra.length : null;
}
