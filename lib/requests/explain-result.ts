import type { NativeResult, Tensor } from '../engine/native-types.js';
import type { PreparedInput } from '../images/inputs.js';
import { prefixOf, type LayeredRequest } from './explain-plan.js';
import type { Explanation } from './explain.js';
import { HeatMap, type ExplainedTarget, type Prediction } from './heatmap.js';

/** Whether a map of this range marks something: its state is `ok`. */
export const isMap = (low: number, high: number): boolean => stateOf(low, high) === 'ok';

function stateOf(low: number, high: number): HeatMap['state'] {
  if (!Number.isFinite(low) || !Number.isFinite(high)) return 'nan';
  return high - low <= 1e-6 * Math.max(Math.abs(low), Math.abs(high)) ? 'flat' : 'ok';
}

/** One image's results as explanations, one for each request. */
export function readExplanations(
  requests: readonly LayeredRequest[],
  result: NativeResult,
  input: PreparedInput,
  labels: readonly string[],
): Explanation<string, unknown>[] {
  return requests.map((request, at) => {
    const prefix = prefixOf(at);
    const own = Object.entries(result.outputs).filter(([name]) => name.startsWith(prefix));
    const outputs = Object.fromEntries(own.map(([name, tensor]) => [name.slice(prefix.length), tensor]));
    return readOne(request, { ...result, outputs }, input, labels);
  });
}

function readOne(
  { method, settings, layers }: LayeredRequest,
  result: NativeResult,
  input: PreparedInput,
  labels: readonly string[],
): Explanation<string, unknown> {
  const { outputs } = result;
  const output = (name: string): Tensor => outputs[name]!;
  const prediction = (index: number, score: number): Prediction => ({ index, label: labels[index]!, score });
  const map = output('map');
  const [height, width] = map.shape.slice(-2) as [number, number];
  const area = height * width;
  const figureNames = Object.keys(outputs).filter((name) => name.startsWith('figure:'));

  const mapAt = (at: number, target: ExplainedTarget): HeatMap => {
    const low = output('low').data[at]!;
    const high = output('high').data[at]!;
    const state = stateOf(low, high);
    const figures = figureNames.map((name) => {
      const { data } = output(name);
      return [name.slice('figure:'.length), data[data.length > 1 ? at : 0]!] as const;
    });
    const data = map.data.subarray(at * area, (at + 1) * area);
    return new HeatMap(
      data,
      [height, width],
      target,
      layers === null ? null : layers.join(', '),
      low,
      high,
      state,
      input,
      Object.fromEntries(figures),
    );
  };

  let maps: HeatMap[];
  if (outputs['denseClasses']) {
    // A method that explains no score gives one map for all.
    const perTarget = map.shape.length === 3;
    const of = (name: string, t: number): number => Math.round(output(name).data[t]!);
    maps = result.targets.map((_, t) =>
      mapAt(perTarget ? t : 0, {
        ...prediction(of('denseClasses', t), output('denseScores').data[t]!),
        ...(outputs['densePlaces'] && { places: of('densePlaces', t) }),
        ...(outputs['denseBoxes'] && { box: of('denseBoxes', t) }),
      }),
    );
  } else if (outputs['conceptClasses']) {
    const { data } = output('conceptClasses');
    maps = Array.from(data, (index, concept) =>
      mapAt(concept, prediction(index, output('conceptScores').data[concept]!)),
    );
  } else if (result.targets.length === 0 || (outputs['score'] && map.shape.length === 2)) {
    // A score of the user's own that reads no class gives one map, whatever the targets.
    maps = [mapAt(0, { index: -1, label: 'score', score: outputs['score']?.data[0] ?? NaN })];
  } else {
    // A method that does not depend on the class gives one map for all targets.
    const perTarget = map.shape.length === 3;
    const asked = output('targetScores').data;
    maps = result.targets.map((of, t) => {
      const against = result.against[t]!;
      const target = {
        ...prediction(of, asked[2 * t]!),
        ...(against >= 0 && { against: prediction(against, asked[2 * t + 1]!) }),
      };
      return mapAt(perTarget ? t : 0, target);
    });
  }
  return {
    image: input.name,
    method: method.name,
    options: settings,
    predictions: outputs['bestClasses']
      ? Array.from(output('bestClasses').data, (index, i) => prediction(index, output('bestScores').data[i]!))
      : [],
    maps,
    chunk: result.chunk > 0 ? result.chunk : null,
  };
}
