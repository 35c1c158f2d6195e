import { SightlineError } from '../support/errors.js';
import { skeletonOf } from '../models/catalog.js';
import { labelsOfCard } from './class-labels.js';
import { ConfigFields } from './config-fields.js';
import type { PulledCard } from './pulled-card.js';
import { isTimmConfig, readTimmConfig, readTimmPreprocessing } from './timm-config.js';
import { readTransformersConfig, transformersClass } from './transformers-config.js';
import { readTransformersPreprocessing } from './transformers-preprocessing.js';

export const CONFIG = 'config.json';
export const PREPROCESSOR = 'preprocessor_config.json';
export const WEIGHTS = 'model.safetensors';
export const WEIGHTS_INDEX = 'model.safetensors.index.json';
/** Files of torch.save, taken where a repository has nothing else. */
export const SAVED = 'pytorch_model.bin';
export const SAVED_INDEX = 'pytorch_model.bin.index.json';
/** Names of weights, the first that is there before the others. */
export const ALL_WEIGHTS = [WEIGHTS, WEIGHTS_INDEX, SAVED, SAVED_INDEX] as const;

/** What a card is made from. */
export interface RepositoryFiles {
  /** `org/name`. */
  readonly repository: string;
  readonly revision: string;
  /** Contents of `config.json`. */
  readonly config: string;
  /** Contents of `preprocessor_config.json`, which timm's repositories do without. */
  readonly preprocessor: string | null;
  /** The name of the weights' file, or of their index. */
  readonly weights: string;
}

/**
 * The card of a repository that the catalog does not have: which skeleton its configuration fits, and what it does to
 * images, with the labels of its own classes.
 *
 * @throws SightlineError UNSUPPORTED_MODEL naming the field that sightline cannot represent, INVALID_CARD
 */
export async function cardOfRepository({
  repository,
  revision,
  config: text,
  preprocessor,
  weights,
}: RepositoryFiles): Promise<PulledCard> {
  const config = ConfigFields.parse(text, `${CONFIG} of ${repository}`);
  const source = { repository, file: weights, revision };
  if (isTimmConfig(config)) {
    const { architecture, labels } = readTimmConfig(config);
    const input = readTimmPreprocessing(config);
    const { targetLayer } = (await skeletonOf(architecture)).card;
    return {
      name: repository,
      source: repository,
      architecture,
      input,
      targetLayer,
      ...(await labelsOfCard(labels)),
      weights: { ...source, naming: 'timm' },
    };
  }

  const modelClass = transformersClass(config);
  if (modelClass === null) {
    throw new SightlineError(
      'UNSUPPORTED_MODEL',
      `${config.name} names neither "architectures" (transformers) nor "architecture" (timm), so its graph is not known; export the model with models/export.py instead.`,
    );
  }
  const { architecture, imageSize, labels, layerNormEps } = readTransformersConfig(config);
  if (preprocessor === null) {
    throw new SightlineError(
      'UNSUPPORTED_MODEL',
      `${repository} has no ${PREPROCESSOR}, so what it does to images is not known; add the one that its image processor's save_pretrained writes, or export the model with models/export.py.`,
    );
  }
  const steps = ConfigFields.parse(preprocessor, `${PREPROCESSOR} of ${repository}`);
  const input = readTransformersPreprocessing(steps, modelClass);
  const patch = /^dinov2/.test(architecture) ? 14 : 1;
  if (input.width !== input.height || input.width % patch !== 0 || (imageSize !== null && input.width !== imageSize)) {
    const expected =
      imageSize === null
        ? `squares${patch === 1 ? '' : ` with sides that ${patch} divides`}`
        : `${imageSize} x ${imageSize}`;
    throw new SightlineError(
      'UNSUPPORTED_MODEL',
      `${steps.name} makes images of ${input.width} x ${input.height}, but ${config.name} is for ${expected}; correct the one that is wrong, or export the model with models/export.py.`,
    );
  }
  return {
    name: repository,
    source: repository,
    architecture,
    input,
    targetLayer: (await skeletonOf(architecture)).card.targetLayer,
    ...(await labelsOfCard(labels)),
    weights: { ...source, naming: 'huggingface', ...(layerNormEps !== undefined && { layerNormEps }) },
  };
}

/**
 * The weights' file among those that a repository has.
 *
 * @throws SightlineError UNSUPPORTED_MODEL where there is none
 */
export function chooseWeights(repository: string, has: (file: string) => boolean): string {
  const found = ALL_WEIGHTS.find(has);
  if (found !== undefined) return found;
  throw new SightlineError(
    'UNSUPPORTED_MODEL',
    `${repository} has neither ${WEIGHTS} nor ${SAVED}; sightline reads no other weights, so export the model with models/export.py.`,
  );
}
