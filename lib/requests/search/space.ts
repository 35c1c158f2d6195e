import type { Inspection } from '../../engine/inspection.js';
import { METHODS } from '../../methods/index.js';
import { stagesOf } from '../sanity/stages.js';
import type { SearchSpace } from './search.js';

/** The options of a space's candidates, with what was tried of each as words. */
export function combinations({ over, ...fixed }: SearchSpace): { options: object; label: string }[] {
  let all: { options: Record<string, unknown>; label: string }[] = [{ options: fixed, label: fixed.method }];
  for (const [name, values] of Object.entries(over)) {
    all = all.flatMap(({ options, label }) =>
      values.map((value) => ({
        options: { ...options, [name]: value },
        label: `${label} ${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
      })),
    );
  }
  return all;
}

/** Blocks that a rollout may begin with: the first, at one and two thirds, the last. */
function startsOf(blocks: number): number[] {
  return [...new Set([0, Math.round(blocks / 3), Math.round((2 * blocks) / 3), blocks - 1])];
}

const CAMS = ['grad-cam', 'grad-cam++', 'hires-cam', 'xgrad-cam', 'layer-cam'] as const;
/** Stages that CAM methods are tried on, from the last. */
const STAGES = 4;

/**
 * What suits a model, as far as the methods apply to it: the aggregations of attention, 204 for twelve blocks, or the
 * layers of the CAM methods.
 */
export function defaultSpaces(inspection: Inspection): SearchSpace[] {
  const starts = startsOf(inspection.attention.length);
  const stages = stagesOf(inspection.nodes).filter((stage) =>
    inspection.nodes.some(
      ({ name, layout, grid }) =>
        name === stage && (grid !== null || layout === 'channels-first' || layout === 'channels-last'),
    ),
  );
  const layers = [...new Set([inspection.targetLayer, ...stages.slice(0, STAGES)])];
  const rollouts: SearchSpace[] = [
    {
      method: 'gradient-rollout',
      over: {
        headFusion: ['positive-part', 'gradient-weighted', 'grad-cam', 'max'],
        residualWeight: [0.5, 0.25, 0],
        discardRatio: [0, 0.9],
        startBlock: starts,
      },
    },
    {
      method: 'attention-rollout',
      over: {
        headFusion: ['mean', 'max', 'min'],
        residualWeight: [0.5, 0.25, 0],
        discardRatio: [0, 0.5, 0.9],
        startBlock: starts,
      },
    },
  ];
  const cams = CAMS.map((method): SearchSpace => ({
    method,
    over: { layer: layers, augmentationSmoothing: [false, true] },
  }));
  const applying = (spaces: readonly SearchSpace[]): SearchSpace[] =>
    spaces.filter(({ method }) => METHODS[method].reasonAgainst(inspection) === null);
  const ofAttention = applying(rollouts);
  return ofAttention.length > 0 ? ofAttention : applying(cams);
}
