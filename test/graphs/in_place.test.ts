import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Model } from '../../lib/index.js';
import { plainCard } from '../support/models.js';
import { findPython, runPython } from '../support/python.js';

interface Numbers {
  readonly shape: number[];
  readonly data: number[];
}

type Rounded = Numbers & { readonly rounding: number };

interface Expected {
  readonly images: Numbers;
  readonly models: Record<
    string,
    { readonly logits: Numbers; readonly nodes: Record<string, Record<'feature' | 'gradient' | 'cam', Rounded>> }
  >;
}

/** Float32's own rounding of numbers around 1, after some dozens of operations. */
const FLOAT32 = 2 ** -19;

const python = findPython();

describe.skipIf(python === null)(
  'a node’s value is the one that a forward hook saw, whatever overwrites it later',
  () => {
    let folder: string;
    let expected: Expected;

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'sightline-in-place-'));
      await runPython(python!, ['test/graphs/in_place.py', folder]);
      expected = JSON.parse(await readFile(join(folder, 'expected.json'), 'utf8')) as Expected;
    });
    afterAll(() => rm(folder, { recursive: true, force: true }));

    const expectClose = (found: ArrayLike<number>, wanted: Numbers, rounding = 0): void => {
      const scale = Math.max(...wanted.data.map(Math.abs));
      expect(scale).toBeGreaterThan(0);
      expect(found.length).toBe(wanted.data.length);
      const apart = Math.max(...wanted.data.map((value, at) => Math.abs(value - found[at]!)));
      expect(apart).toBeLessThanOrEqual(FLOAT32 * scale + 8 * rounding);
    };
    const load = (name: string, form: string, optimize: boolean): Promise<Model> => {
      const [, , height, width] = expected.images.shape as [number, number, number, number];
      return Model.load(join(folder, `${name}-${form}.pt`), {
        device: 'cpu',
        optimize,
        card: plainCard(height, width),
      });
    };
    const images = (): { data: Float32Array; shape: [number, number, number, number] } => ({
      data: Float32Array.from(expected.images.data),
      shape: expected.images.shape as [number, number, number, number],
    });

    const cases = ['residual', 'dropped', 'sliced', 'halves', 'wider', 'ignored', 'viewed', 'parts'].flatMap((name) =>
      ['traced', 'scripted'].map((form) => [name, form] as const),
    );
    it.each(cases)('%s, %s', async (name, form) => {
      const { logits, nodes: all } = expected.models[name]!;
      // Tracing leaves no call of an Identity, and scripting none of a module whose result is ignored.
      const nodes = Object.fromEntries(
        Object.entries(all).filter(([node]) =>
          form === 'traced' ? node !== 'seam' : name !== 'ignored' || node !== 'act',
        ),
      );
      for (const optimize of [true, false]) {
        await using model = await load(name, form, optimize);
        const predicted = await model.predict(images());
        expectClose(
          predicted.flatMap((each) => [...each.logits.data]),
          logits,
        );
        // Each alone as well: what is tapped decides where the graph is cut.
        for (const features of [Object.keys(nodes), ...Object.keys(nodes).map((node) => [node])]) {
          if (features.length === 0) continue;
          const captured = await model.capture(images(), { features });
          const differentiated = await model.capture(images(), { features, gradients: { target: 1 } });
          for (const node of features) {
            const { feature, gradient } = nodes[node]!;
            expectClose(captured.features[node]!.data, feature, feature.rounding);
            expectClose(differentiated.features[node]!.data, feature, feature.rounding);
            expectClose(differentiated.gradients!.features[node]!.data, gradient, gradient.rounding);
          }
        }
        for (const [layer, { cam }] of Object.entries(nodes)) {
          const explained = await model.explain(images(), {
            method: 'grad-cam',
            layer,
            targets: [1],
            size: 'grid',
            raw: true,
          });
          expectClose(
            explained.flatMap(({ maps }) => [...maps[0]!.data]),
            cam,
            cam.rounding,
          );
        }
      }
    });

    it('viewed: a view of what is overwritten and read later is no node', async () => {
      await using model = await load('viewed', 'scripted', true);
      const names = (await model.inspect()).nodes.map(({ name }) => name);
      expect(names).toContain('bn');
      expect(names).not.toContain('seam');
      await expect(model.capture(images(), { features: ['seam'] })).rejects.toMatchObject({ code: 'UNKNOWN_NODE' });
    });

    it.each(['traced', 'scripted'])('parts, %s: sizes that a module returns are no nodes', async (form) => {
      await using model = await load('parts', form, true);
      const nodes = (await model.inspect()).nodes.filter(
        ({ name }) => name.startsWith('patches') && name !== 'patches.conv',
      );
      expect(nodes.map(({ name, shape }) => [name, shape])).toEqual([['patches', [1, 24, 8]]]);
    });
  },
);
