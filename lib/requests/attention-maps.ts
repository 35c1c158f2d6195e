import { z } from 'zod';

import type { NativeResult } from '../engine/native-types.js';
import { SightlineError } from '../support/errors.js';
import type { Inspection } from '../engine/inspection.js';
import { parseOptions } from '../support/options.js';
import { hasGlobalAttention } from '../methods/conditions.js';
import { pooledRow } from '../methods/attention/rows.js';
import { rename, sigmoid, SymbolicModel, transpose } from '../symbolic/index.js';
import type { PlanDescription } from '../engine/plan-description.js';
import { PlanRecorder } from '../symbolic/recorder.js';
import { keyOf } from './plan-keys.js';
import type { Request } from './question.js';

/** The kind of attention map: the class token's attention, or the projections of every patch. */
export interface AttentionMapOptions {
  /**
   * `probabilities` (default): one map per block and head. `query`, `key`, `value`: one per block, head and channel.
   */
  readonly of?: 'probabilities' | 'query' | 'key' | 'value' | undefined;
  /** Only this block: 0 or more. Default: all. */
  readonly block?: number | undefined;
  /** Only this head: 0 or more. Default: all. */
  readonly head?: number | undefined;
  /** Only this channel of q, k or v: 0 or more. Default: all. */
  readonly channel?: number | undefined;
  /**
   * `sigmoid` maps x to 1 / (1 + e^-x), which sets positive from negative channels; not for probabilities. Default
   * `none`.
   */
  readonly contrast?: 'none' | 'sigmoid' | undefined;
  /** Aborting rejects with ABORTED at once. Default: none. */
  readonly signal?: AbortSignal | undefined;
}

/** One map over the grid of patches. */
export interface AttentionMap {
  /** The attention's number, from 0. */
  readonly block: number;
  /** The head, from 0. */
  readonly head: number;
  /** Null for probabilities. */
  readonly channel: number | null;
  /** Row-major [H, W] of the grid. */
  readonly data: Float32Array;
  /** Rows and columns of the patch grid. */
  readonly shape: readonly [height: number, width: number];
}

const schema = z.strictObject({
  of: z.enum(['probabilities', 'query', 'key', 'value']).default('probabilities'),
  block: z.int().min(0).optional(),
  head: z.int().min(0).optional(),
  channel: z.int().min(0).optional(),
  contrast: z.enum(['none', 'sigmoid']).default('none'),
  signal: z.instanceof(AbortSignal).optional(),
});

type AttentionMapSettings = z.output<typeof schema>;

/** @throws SightlineError INVALID_OPTION */
export function attentionMapRequest(options: AttentionMapOptions): Request<AttentionMap[]> {
  const { signal, ...request } = parseOptions(schema, options, 'attention maps');
  if (request.of === 'probabilities' && (request.channel !== undefined || request.contrast === 'sigmoid')) {
    throw new SightlineError(
      'INVALID_OPTION',
      'Attention probabilities have neither channels nor signs; ask for query, key or value to see those.',
    );
  }
  return {
    signal,
    question: () => ({
      key: keyOf(['attention', request]),
      targetsOf: () => [],
      record: (inspection) => recordAttentionMaps(request, inspection),
      read: (result, _, inspection) => readAttentionMaps(request, inspection, result),
    }),
  };
}

/** @throws SightlineError METHOD_NOT_APPLICABLE, INVALID_OPTION */
function recordAttentionMaps(request: AttentionMapSettings, inspection: Inspection): PlanDescription {
  const reason = hasGlobalAttention(inspection);
  if (reason !== null) {
    throw new SightlineError('METHOD_NOT_APPLICABLE', `There are no attention maps of this model: ${reason}.`);
  }
  const sizes = {
    block: inspection.attention.length,
    head: inspection.attention[0]!.heads,
    channel: inspection.attention[0]!.headSize,
  };
  for (const name of ['block', 'head', 'channel'] as const) {
    const index = request[name];
    if (index !== undefined && index >= sizes[name]) {
      throw new SightlineError(
        'INVALID_OPTION',
        `There is no ${name} ${index}: the model has ${sizes[name]}, numbered from 0.`,
      );
    }
  }
  const plan = new PlanRecorder('attention');
  const model = new SymbolicModel(plan, inspection);
  for (const block of blocksOf(request, inspection)) {
    if (request.of === 'probabilities') {
      plan.output(`block/${block}`, model.patches(pooledRow(model, model.output.attention(block)), 'keys'));
    } else {
      const projected = rename(model.output[request.of](block), 'tokens', 'keys');
      const maps = transpose(model.patches(projected, 'keys'), ['batch', 'heads', 'channels', 'height', 'width']);
      plan.output(`block/${block}`, request.contrast === 'sigmoid' ? sigmoid(maps) : maps);
    }
  }
  return plan.finish(2 ** 30, inspection);
}

function blocksOf(request: AttentionMapSettings, inspection: Inspection): number[] {
  return request.block === undefined ? inspection.attention.map((_, i) => i) : [request.block];
}

function readAttentionMaps(
  request: AttentionMapSettings,
  inspection: Inspection,
  result: NativeResult,
): AttentionMap[] {
  return blocksOf(request, inspection).flatMap((block) => {
    const { data, shape } = result.outputs[`block/${block}`]!;
    const [height, width] = shape.slice(-2) as [number, number];
    const [heads, channels] = shape.length === 4 ? [shape[0]!, shape[1]!] : [shape[0]!, 1];
    const area = height * width;
    const maps: AttentionMap[] = [];
    for (let head = 0; head < heads; head++) {
      for (let channel = 0; channel < channels; channel++) {
        if ((request.head ?? head) !== head || (request.channel ?? channel) !== channel) continue;
        const start = (head * channels + channel) * area;
        maps.push({
          block,
          head,
          channel: shape.length === 4 ? channel : null,
          data: data.subarray(start, start + area),
          shape: [height, width],
        });
      }
    }
    return maps;
  });
}
