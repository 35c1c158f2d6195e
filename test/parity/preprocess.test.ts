import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { describe, expect, it } from 'vitest';

import { decodeImage } from '../../lib/images/source.js';
import { Model, type ModelInput } from '../../lib/index.js';

interface Case {
  readonly source: string;
  readonly size: readonly [width: number, height: number];
  readonly interpolation: 'bilinear' | 'bicubic';
  readonly crop: readonly [left: number, top: number, width: number, height: number] | null;
  readonly result: string;
}

const FOLDER = new URL('./preprocess/', import.meta.url);
const cases = JSON.parse(readFileSync(new URL('index.json', FOLDER), 'utf8')) as Case[] | { cases: Case[] };

/** The card's way to a result: `exact` without a crop, else the shorter side and a centre crop. */
function inputFor({ size, interpolation, crop }: Case): ModelInput {
  const [width, height] = crop === null ? size : [crop[2], crop[3]];
  return {
    width,
    height,
    mean: [0, 0, 0],
    std: [1, 1, 1],
    resize: crop === null ? { mode: 'exact', size: [...size] } : { mode: 'shorter-side', size: Math.min(...size) },
    interpolation,
    crop: crop === null ? 'none' : 'center',
  };
}

describe('preprocessing equals Pillow within one level', () => {
  it.each(Array.isArray(cases) ? cases : cases.cases)('$result', async (entry) => {
    const archive = fileURLToPath(new URL('./archives/torchvision-resnet-traced.pt', import.meta.url));
    await using model = await Model.load(archive, {
      device: 'cpu',
      card: { name: 'preprocess', input: inputFor(entry) },
    });
    const { input } = await model.capture(fileURLToPath(new URL(entry.source, FOLDER)), { input: true });
    const { data, width, height } = await decodeImage(fileURLToPath(new URL(entry.result, FOLDER)));
    expect(input!.shape).toEqual([1, 3, height, width]);
    const area = width * height;
    let largest = 0;
    let differing = 0;
    for (let i = 0; i < area; i++) {
      for (let c = 0; c < 3; c++) {
        const difference = Math.abs(Math.round(input!.data[c * area + i]! * 255) - data[i * 3 + c]!);
        largest = Math.max(largest, difference);
        if (difference > 0) differing++;
      }
    }
    expect(largest).toBeLessThanOrEqual(1);
    // One level off is a tie of rounding, not a habit.
    expect(differing / (area * 3)).toBeLessThan(0.005);
  });
});
