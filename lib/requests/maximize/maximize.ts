import type { NativeResult, Tensor } from '../../engine/native-types.js';
import { SightlineError } from '../../support/errors.js';
import type { PreparedInput } from '../../images/inputs.js';
import type { Inspection } from '../../engine/inspection.js';
import { GeneratedImage } from './image.js';
import { resolveObjective } from './objective.js';
import type { MaximizeProgress, MaximizeRequest } from './options.js';
import { parametrizationOf } from './parametrization.js';
import { givenForStart, givenForSteps, recordStart, recordSteps, type Given, type Recipe } from './plans.js';
import { normalizationOf, type ModelCard } from '../../models/card.js';
import type { PlanDescription } from '../../engine/plan-description.js';

export { GeneratedImage } from './image.js';
export {
  parseMaximizeOptions,
  type AttentionObjective,
  type BlurOptions,
  type ClassObjective,
  type FeatureObjective,
  type GridPlace,
  type MaximizeObjective,
  type MaximizeOptions,
  type MaximizeProgress,
  type MaximizeRequest,
  type MaximizeSettings,
  type ProjectionObjective,
} from './options.js';

/** The result: the image, its objective and the activation it reached. */
export interface Maximized {
  /** The image after the last step. */
  readonly image: GeneratedImage;
  /** The objective in words: `channel 3 of layer4`. */
  readonly objective: string;
  /** Of `image`. */
  readonly activation: number;
  /**
   * Activations of the clean image (without jitter and penalties): at the start, whenever progress was reported, at the
   * end.
   */
  readonly activations: readonly { readonly step: number; readonly activation: number }[];
  /** The options as they took effect. */
  readonly options: Omit<MaximizeRequest, 'onProgress' | 'signal' | 'client'> & { readonly jitter: number };
}

/** Most steps of one call of the engine: between calls, progress is reported and other requests may run. */
const STEPS_PER_CALL = 8;

/** Default shift in pixels, for images that are large enough. */
const DEFAULT_JITTER = 4;

/** The parts of a model that maximization needs. */
export interface MaximizeContext {
  readonly inspection: Inspection;
  readonly card: ModelCard;
  readonly labels: readonly string[];
  /** Runs a plan on `input`. Plans of the same `key` are the same; null for one that will not be run again. */
  readonly run: (input: PreparedInput, key: string | null, record: () => PlanDescription) => Promise<NativeResult>;
}

/**
 * Activation maximization: gradient ascent on an image (Erhan et al. 2009), by Adam on pixels or on the spectrum (Olah
 * et al. 2017).
 *
 * @throws SightlineError UNKNOWN_NODE, UNKNOWN_TARGET, INVALID_OPTION, METHOD_NOT_APPLICABLE before anything is
 * computed
 */
export async function maximize(
  request: MaximizeRequest,
  { inspection, card, labels, run }: MaximizeContext,
): Promise<Maximized> {
  const { height, width, channels } = inspection;
  if (card.input.order === 'bgr') {
    throw new SightlineError(
      'METHOD_NOT_APPLICABLE',
      'The model takes its channels in the order BGR, and maximize makes RGB images.',
    );
  }
  if (channels !== 3) {
    throw new SightlineError(
      'METHOD_NOT_APPLICABLE',
      `The model takes images of ${channels} channels, and maximize makes color images.`,
    );
  }
  const objective = resolveObjective(request, inspection, labels);
  const jitter = checkedJitter(request.jitter, height, width);
  checkBlur(request.blur?.size, height, width);
  const { onProgress, signal: _signal, client: _client, ...settled } = { ...request, jitter };
  const parametrization = parametrizationOf(settled, height, width);
  const recipe: Recipe = {
    request: settled,
    inspection,
    objective,
    parametrization,
    card: normalizationOf(card.input),
  };
  const { steps, every } = settled;

  const activations: { step: number; activation: number }[] = [];
  const reported = async (step: number, outputs: NativeResult['outputs']): Promise<GeneratedImage> => {
    const image = new GeneratedImage(outputs['image']!.data, [3, height, width]);
    const activation = outputs['activation']!.data[0]!;
    if (!Number.isFinite(activation)) {
      throw new SightlineError(
        'STEP_FAILED',
        `${objective.name} became ${activation} after ${step} steps; lower the learning rate, or run the model in f32.`,
      );
    }
    activations.push({ step, activation });
    const isShown = every !== undefined && (step % every === 0 || step === steps);
    await onProgress?.({ step, steps, activation, ...(isShown && { image }) } satisfies MaximizeProgress);
    return image;
  };

  const start = await run(carrierOf(inspection, givenForStart(recipe)), null, () => recordStart(recipe));
  const shifts: Tensor | undefined = start.outputs['shifts'];
  let state = start.outputs['state']!;
  let image = await reported(0, start.outputs);
  // What a plan of steps depends on; seeds, numbers of steps and the rate come as tensors.
  const { seed: _seed, steps: _steps, every: _every, learningRate: _rate, ...key } = settled;
  for (let done = 0; done < steps;) {
    const boundary = every === undefined ? steps : Math.min(steps, done - (done % every) + every);
    const count = Math.min(STEPS_PER_CALL, boundary - done);
    const input = carrierOf(inspection, givenForSteps(recipe, state, shifts, done, count));
    const { outputs } = await run(input, JSON.stringify(['maximize', key, count]), () => recordSteps(recipe, count));
    if (done === 0) refuseStandstill(outputs['state']!, objective.name);
    done += count;
    state = outputs['state']!;
    image = await reported(done, outputs);
  }
  return {
    image,
    objective: objective.name,
    activation: activations.at(-1)!.activation,
    activations,
    options: settled,
  };
}

/**
 * A channel whose ReLU lets nothing through gives no direction to go, and no number of steps would change the image.
 */
function refuseStandstill(state: Tensor, name: string): void {
  const { length } = state.data;
  // The first moments, which lie between the parameters and the squares. These may round to zero where those do not.
  if (state.data.subarray(length / 3, (2 * length) / 3).some((value) => value !== 0)) return;
  throw new SightlineError(
    'INVALID_OPTION',
    `The gradient of ${name} is zero everywhere at the start, as after a ReLU that lets nothing through; maximize the node before it, or try another seed.`,
  );
}

function checkedJitter(asked: number | undefined, height: number, width: number): number {
  const side = Math.min(height, width);
  if (asked === undefined) return Math.min(DEFAULT_JITTER, Math.floor(side / 16));
  if (asked >= side) {
    throw new SightlineError(
      'INVALID_OPTION',
      `A jitter of ${asked} pixels turns the image round more than once: its shorter side has ${side}; give less.`,
    );
  }
  return asked;
}

function checkBlur(size: number | undefined, height: number, width: number): void {
  const side = Math.min(height, width);
  // Edges are mirrored by half a kernel, which must not reach beyond the image.
  if (size !== undefined && size >= 2 * side) {
    throw new SightlineError(
      'INVALID_OPTION',
      `A blur of ${size} pixels reaches beyond the image, whose shorter side has ${side}; give less than ${2 * side}.`,
    );
  }
}

/** A request for the engine needs an image; the plans here read none, and compute on what is given along. */
function carrierOf({ height, width }: Inspection, given: Given): PreparedInput {
  const tensor = new Float32Array(3 * height * width);
  return {
    name: 'maximize',
    request: { label: 'maximize', height, width, tensor, given },
    picture: () => ({
      image: { data: new Uint8Array(3 * height * width), width, height, name: 'maximize' },
      box: { left: 0, top: 0, width, height },
    }),
  };
}
