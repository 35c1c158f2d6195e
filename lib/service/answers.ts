import type { Explanation } from '../requests/explain.js';
import type { ExplainedTarget, HeatMap, Prediction } from '../requests/heatmap.js';
import { SightlineError } from '../support/errors.js';
import { shown } from '../support/cut.js';

/** How the values of maps are written in JSON: as numbers, or as base64 of float32 in little-endian order. */
export type Encoding = 'list' | 'base64';

/** @throws SightlineError INVALID_OPTION */
export function encodingOf(value: unknown): Encoding {
  if (value === undefined || value === 'list' || value === 'base64') return value ?? 'list';
  throw new SightlineError('INVALID_OPTION', `encoding is ${shown(value)}; give "list" or "base64".`);
}

/** One map of an answer, its values as `encoding` asks. */
export interface MapAnswer {
  readonly target: ExplainedTarget;
  readonly layer: string | null;
  readonly shape: readonly [height: number, width: number];
  readonly datatype: 'FP32';
  readonly min: number | null;
  readonly max: number | null;
  readonly state: HeatMap['state'];
  readonly figures: Readonly<Record<string, number>>;
  readonly peak: { readonly row: number; readonly column: number };
  readonly data?: readonly number[];
  readonly b64?: string;
}

/** What an explanation is answered with. */
export interface ExplanationAnswer {
  readonly method: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly predictions: readonly Prediction[];
  readonly maps: readonly MapAnswer[];
  readonly chunk: number | null;
}

export function explanationBody(explanation: Explanation, encoding: Encoding): ExplanationAnswer {
  const { method, options, predictions, maps, chunk } = explanation;
  return {
    method,
    options,
    predictions,
    maps: maps.map((map) => mapBody(map, encoding)),
    chunk,
  };
}

function mapBody(map: HeatMap, encoding: Encoding): MapAnswer {
  const { shape, target, layer, min, max, state, figures, data } = map;
  return {
    target,
    layer,
    shape,
    datatype: 'FP32',
    // JSON has no NaN.
    min: Number.isFinite(min) ? min : null,
    max: Number.isFinite(max) ? max : null,
    state,
    figures,
    peak: map.peak(),
    ...values(data, encoding),
  };
}

/** Numbers as a field of an answer: `data`, or `b64`. */
export function values(data: Float32Array, encoding: Encoding): { data: number[] } | { b64: string } {
  return encoding === 'list' ? { data: Array.from(data) } : { b64: littleEndian(data).toString('base64') };
}

/** The bytes of float32 values; every system that LibTorch runs on has the low byte first. */
export function littleEndian(data: Float32Array): Buffer {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
}
