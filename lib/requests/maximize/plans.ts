import type { Tensor } from '../../engine/native-types.js';
import type { Inspection } from '../../engine/inspection.js';
import type { Normalization } from '../../symbolic/model.js';
import {
  abs,
  concatenate,
  constant,
  div,
  grad,
  iterate,
  mean,
  mul,
  narrow,
  noise,
  pick,
  roll,
  select,
  sqrt,
  square,
  stack,
  sub,
  SymbolicModel,
  variable,
  type Value,
} from '../../symbolic/index.js';
import type { PlanDescription } from '../../engine/plan-description.js';
import { PlanRecorder } from '../../symbolic/recorder.js';
import type { Objective } from './objective.js';
import type { MaximizeRequest } from './options.js';
import type { Parametrization } from './parametrization.js';

/** All that a plan is recorded from. */
export interface Recipe {
  /** With the jitter that is in force at this image size. */
  readonly request: MaximizeRequest & { readonly jitter: number };
  readonly inspection: Inspection;
  readonly objective: Objective;
  readonly parametrization: Parametrization;
  readonly card: Normalization;
}

/** Tensors that go along with a request. */
export type Given = Readonly<Record<string, Tensor>>;

/** The start's standard deviation, as in Olah et al. 2017. */
const START_DEVIATION = 0.01;

/** Parameters, first and second moments: one tensor, since a loop of the engine carries one. */
const SLOTS = 3;

const MEMORY = 2 ** 30;

/**
 * The start: the state before the first step, and what jitter will do at every step.
 *
 * Outputs `state` [slots, ...parameters], `shifts` [steps, 2] in [0, 1) where there is jitter, `image`, `activation`.
 */
export function recordStart(recipe: Recipe): PlanDescription {
  const { request, parametrization, inspection } = recipe;
  const plan = new PlanRecorder('maximize');
  const model = new SymbolicModel(plan, inspection);
  const zeros = model.given('zeros', parametrization.axes);
  const drawn = concatenate(zeros, 1, (sample) => noise(zeros, sample, request.seed, 'normal'));
  const parameters = mul(select(drawn, 'sample', 0), START_DEVIATION);
  plan.output('state', stack([parameters, zeros, zeros], 'slots'));
  if (request.jitter > 0) {
    const pair = model.given('pair', ['batch', 'direction']);
    plan.output(
      'shifts',
      concatenate(pair, request.steps, (step) => noise(pair, step, request.seed + 1, 'uniform')),
    );
  }
  outputImage(plan, model, recipe, parameters);
  return plan.finish(MEMORY, inspection);
}

export function givenForStart({ request, parametrization }: Recipe): Given {
  return { zeros: zeros([1, ...parametrization.shape]), ...(request.jitter > 0 && { pair: zeros([1, 2]) }) };
}

/**
 * `count` steps of Adam (Kingma & Ba 2015) from the state that is given. What depends on the number of a step is given
 * as a table of one entry for each, so that one plan serves them all.
 *
 * Outputs `state`, `image`, `activation`.
 */
export function recordSteps(recipe: Recipe, count: number): PlanDescription {
  const { request, inspection, objective, parametrization } = recipe;
  const { betas, epsilon, blur, jitter } = request;
  const plan = new PlanRecorder('maximize');
  const model = new SymbolicModel(plan, inspection);
  const table = (name: string): Value => model.given(name, ['batch', 'step']);
  const start = model.given('state', ['batch', 'slots', ...parametrization.axes.slice(1)]);
  const rates = table('rate');
  const corrections = table('correction');
  const shifts = jitter > 0 ? { rows: table('rows'), columns: table('columns') } : null;
  const smooths = blur === undefined ? null : table('smooth');

  const end = iterate(start, count, (state, round) => {
    const [parameters, first, second] = Array.from({ length: SLOTS }, (_, slot) => select(state, 'slots', slot)) as [
      Value,
      Value,
      Value,
    ];
    const leaf = variable(parameters);
    const image = parametrization.image(leaf);
    const shifted = shifts === null ? image : roll(image, pick(shifts.rows, round), pick(shifts.columns, round));
    const reached = objective.of(model.run(preprocessed(shifted, recipe)));
    const slope = grad(penalised(reached, image, recipe), leaf);

    const firstMoment = mul(first, betas[0]).add(mul(slope, 1 - betas[0]));
    const secondMoment = mul(second, betas[1]).add(mul(square(slope), 1 - betas[1]));
    const size = mul(sqrt(secondMoment), pick(corrections, round)).add(epsilon);
    const moved = parameters.add(mul(div(firstMoment, size), pick(rates, round)));
    if (blur === undefined || smooths === null) return stack([moved, firstMoment, secondMoment], 'slots');
    const smoothed = parametrization.smoothed(moved, blur.size, blur.sigma);
    return stack([moved.add(mul(sub(smoothed, moved), pick(smooths, round))), firstMoment, secondMoment], 'slots');
  });
  plan.output('state', end);
  outputImage(plan, model, recipe, select(end, 'slots', 0));
  return plan.finish(MEMORY, inspection);
}

/** What `count` steps from step `done` on need. Adam's corrections are computed in double precision. */
export function givenForSteps(
  { request, parametrization }: Recipe,
  state: Tensor,
  shifts: Tensor | undefined,
  done: number,
  count: number,
): Given {
  const { learningRate, betas, blur, jitter } = request;
  const table = (of: (step: number) => number): Tensor => ({
    data: Float32Array.from({ length: count }, (_, i) => of(done + i)),
    shape: [1, count],
  });
  const shift = (direction: number) => (step: number) =>
    Math.floor(shifts!.data[2 * step + direction]! * (2 * jitter + 1)) - jitter;
  return {
    state: { data: state.data, shape: [1, SLOTS, ...parametrization.shape] },
    rate: table((step) => learningRate / (1 - betas[0] ** (step + 1))),
    correction: table((step) => 1 / Math.sqrt(1 - betas[1] ** (step + 1))),
    ...(shifts && { rows: table(shift(0)), columns: table(shift(1)) }),
    ...(blur && { smooth: table((step) => ((step + 1) % blur.every === 0 ? 1 : 0)) }),
  };
}

function outputImage(plan: PlanRecorder, model: SymbolicModel, recipe: Recipe, parameters: Value): void {
  const image = recipe.parametrization.image(parameters);
  plan.output('image', image);
  plan.output('activation', recipe.objective.of(model.run(preprocessed(image, recipe))));
}

/** As the model card asks for. */
function preprocessed(image: Value, { card }: Recipe): Value {
  const perChannel = (values: readonly number[]): Value =>
    constant(image, Float32Array.from(values), { channels: values.length });
  return div(sub(image, perChannel(card.mean)), perChannel(card.std));
}

/** The objective less the penalties: [batch]. */
function penalised(reached: Value, image: Value, recipe: Recipe): Value {
  const { l2, totalVariation } = recipe.request;
  let rest = reached;
  if (l2 > 0) rest = rest.sub(mul(mean(square(preprocessed(image, recipe)), ['channels', 'height', 'width']), l2));
  if (totalVariation > 0) {
    rest = rest.sub(
      mul(
        variation(image, 'height', recipe.inspection.height).add(variation(image, 'width', recipe.inspection.width)),
        totalVariation,
      ),
    );
  }
  return rest;
}

/** The mean absolute difference of neighbors along an axis: [batch]. */
function variation(image: Value, axis: 'height' | 'width', length: number): Value {
  return mean(abs(sub(narrow(image, axis, 1, length - 1), narrow(image, axis, 0, length - 1))), [
    'channels',
    'height',
    'width',
  ]);
}

function zeros(shape: readonly number[]): Tensor {
  return { data: new Float32Array(shape.reduce((product, size) => product * size, 1)), shape };
}
