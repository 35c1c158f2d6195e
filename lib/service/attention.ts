import { z } from 'zod';

import { hasGlobalAttention } from '../methods/conditions.js';
import type { Model } from '../model/model.js';
import type { ModelInspection } from '../model/inspections.js';
import { SightlineError } from '../support/errors.js';
import { parseOptions } from '../support/options.js';
import { values } from './answers.js';
import { hold } from './asked.js';
import { json } from './call.js';
import { ServiceFailure } from './failure.js';
import type { Handler } from './exchange.js';
import { readRequest } from './picture-request.js';

/** What `POST /attention` takes beside the picture. */
export const attentionSchema = z.strictObject({
  model: z.string().optional(),
  of: z.enum(['probabilities', 'query', 'key', 'value']).default('probabilities'),
  rows: z.enum(['classifier', 'all']).default('classifier'),
  block: z.int().min(0).optional(),
  head: z.int().min(0).optional(),
  channel: z.int().min(0).optional(),
  contrast: z.enum(['none', 'sigmoid']).default('none'),
  encoding: z.enum(['list', 'base64']).default('list'),
});

type Asked = z.output<typeof attentionSchema>;

/** What `POST /attention` answers. */
export interface AttentionAnswer {
  readonly model: string;
  readonly of: Asked['of'];
  readonly rows: Asked['rows'];
  /** Where the patches lie among the tokens. */
  readonly grid: NonNullable<ModelInspection['tokens']>;
  /** What each map is of, in the order of the values. */
  readonly maps: readonly { readonly block: number; readonly head: number; readonly channel: number | null }[];
  /** [maps, height, width] of the grid; with `rows: all` [maps, queries, keys] of all tokens. */
  readonly shape: readonly [maps: number, rows: number, columns: number];
  readonly datatype: 'FP32';
  readonly data?: readonly number[];
  readonly b64?: string;
}

type Values = Pick<AttentionAnswer, 'maps' | 'shape'> & { readonly data: Float32Array };

/** `POST /attention`: the attention of one picture per block and head, or q, k and v per channel. */
export const attention: Handler = async (exchange) => {
  const { image, options } = await readRequest(exchange);
  const asked = parseOptions(attentionSchema, options, 'attention');
  const { name, model } = exchange.model(asked.model);
  const inspection = await model.inspect({ signal: exchange.signal });
  const reason = hasGlobalAttention(inspection);
  if (reason !== null || inspection.tokens === null) {
    throw new SightlineError(
      'METHOD_NOT_APPLICABLE',
      `There are no attention maps of ${name}: ${reason ?? 'its tokens have no known places'}.`,
    );
  }
  const { tokens: grid } = inspection;
  checkAsked(asked, inspection);
  hold(countOf(asked, inspection), exchange.limits.maxValues, 'numbers');
  const read = asked.rows === 'all' ? wholeRows : classifierRows;
  const { maps, shape, data } = await exchange.stage('explain', name, () => read(model, image, asked, exchange.signal));
  const { of, rows, encoding } = asked;
  const answer: AttentionAnswer = {
    model: name,
    of,
    rows,
    grid,
    maps,
    shape,
    datatype: 'FP32',
    ...values(data, encoding),
  };
  return json(answer);
};

function checkAsked({ rows, of, block, channel, contrast }: Asked, { attention: sites }: ModelInspection): void {
  if (block !== undefined && block >= sites.length) {
    throw new SightlineError(
      'INVALID_OPTION',
      `There is no block ${block}: the model has ${sites.length}, numbered from 0.`,
    );
  }
  if (rows !== 'all') return;
  if (block === undefined || of !== 'probabilities' || channel !== undefined || contrast !== 'none') {
    throw new ServiceFailure(
      'INVALID_REQUEST',
      'All rows are given of one block and of probabilities; name the block, and leave channel and contrast out.',
    );
  }
}

/** How many numbers are asked for, before they are computed. */
function countOf({ rows, of, block, head, channel }: Asked, { attention: sites, tokens }: ModelInspection): number {
  let count = 0;
  for (const { heads, headSize, tokens: queries, keys } of block === undefined ? sites : [sites[block]!]) {
    const channels = of === 'probabilities' || channel !== undefined ? 1 : headSize;
    const area = rows === 'all' ? queries * keys : tokens!.height * tokens!.width;
    count += (head === undefined ? heads : 1) * channels * area;
  }
  return count;
}

async function classifierRows(model: Model, image: Uint8Array, asked: Asked, signal: AbortSignal): Promise<Values> {
  const { of, block, head, channel, contrast } = asked;
  const maps = await model.attention(image, { of, block, head, channel, contrast, signal });
  const [height, width] = maps[0]!.shape;
  const data = new Float32Array(maps.length * height * width);
  maps.forEach((map, i) => data.set(map.data, i * height * width));
  return {
    maps: maps.map((map) => ({ block: map.block, head: map.head, channel: map.channel })),
    shape: [maps.length, height, width],
    data,
  };
}

async function wholeRows(model: Model, image: Uint8Array, asked: Asked, signal: AbortSignal): Promise<Values> {
  const block = asked.block!;
  const { attention: captured } = await model.capture([image], { attention: [block], signal });
  const { data, shape } = captured[block]!;
  const [, heads, queries, keys] = shape as [number, number, number, number];
  const { head } = asked;
  if (head !== undefined && head >= heads) {
    throw new SightlineError('INVALID_OPTION', `There is no head ${head}: the model has ${heads}, numbered from 0.`);
  }
  const area = queries * keys;
  const shown = head === undefined ? Array.from({ length: heads }, (_, i) => i) : [head];
  return {
    maps: shown.map((each) => ({ block, head: each, channel: null })),
    shape: [shown.length, queries, keys],
    data: head === undefined ? data : data.subarray(head * area, (head + 1) * area),
  };
}
