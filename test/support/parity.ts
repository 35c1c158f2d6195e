import { readdirSync } from 'node:fs';
import { basename } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Model, type LoadOptions, type MethodName, type NamedOptions, type Tensor } from '../../lib/index.js';
import { archivePath, plainCard } from './models.js';
import { expectRounded, nudged } from './rounding.js';
import { readSafetensors, type Reference } from './safetensors.js';

type Captured = Awaited<ReturnType<Model['capture']>>;

const REFERENCES = new URL('../parity/references/', import.meta.url);
const NAMES = readdirSync(REFERENCES).map((file) => basename(file, '.safetensors'));

/** The map's name in a reference, with the options that make it. */
const MAPS: readonly (readonly [string, NamedOptions<MethodName>])[] = [
  ['cam', { method: 'cam' }],
  ['grad-cam', { method: 'grad-cam' }],
  ['raw-attention', { method: 'raw-attention' }],
  ['attention-rollout', { method: 'attention-rollout' }],
  ['attention-rollout.max.0.9', { method: 'attention-rollout', headFusion: 'max', discardRatio: 0.9 }],
  ['attention-rollout.min.0', { method: 'attention-rollout', headFusion: 'min' }],
  ['attention-rollout.mean.0.5', { method: 'attention-rollout', discardRatio: 0.5 }],
  ['attention-rollout.start1', { method: 'attention-rollout', startBlock: 1 }],
  ['gradient-rollout', { method: 'gradient-rollout' }],
  ['gradient-rollout.0.9', { method: 'gradient-rollout', discardRatio: 0.9 }],
  ['gae', { method: 'gae' }],
];

/** `layer1.0.relu#1` there is `layer1.0.relu:1` here; a first call has no number here. */
const nodeName = (path: string): string => path.replace(/#0$/, '').replace('#', ':');

/**
 * torch.jit.trace writes modules that return what they get (nn.Identity) as calls without arguments, so a traced
 * archive does not say what flowed through these. Scripted archives do, and there they are compared.
 */
const IDENTITIES = /(^|\.)(ls1|ls2|drop_path1|drop_path2|fc_norm|norm|norm_pre|patch_drop|q_norm|k_norm|downsample)$/;

/**
 * Compares everything that the references hold with what sightline gives on a device, to what the README promises for
 * it.
 */
export function describeParity(device: NonNullable<LoadOptions['device']>, promised: number): void {
  it('finds at least 14 exports', () => {
    expect(NAMES.length).toBeGreaterThanOrEqual(14);
  });

  describe.each(NAMES)('%s', (name) => {
    const reference = readSafetensors(new URL(`${name}.safetensors`, REFERENCES));
    const floats = (key: string): Float32Array => reference.get(key)!.data as Float32Array;
    const keys = (prefix: string): string[] =>
      [...reference.keys()].filter((key) => key.startsWith(prefix)).map((key) => key.slice(prefix.length));
    const input: Reference = reference.get('input')!;
    const image = { data: input.data as Float32Array, shape: input.shape };
    const target = Number(reference.get('target')!.data[0]);
    const isFrozen = name.endsWith('-frozen');
    const kinds = ['attention', 'query', 'key', 'value'] as const;
    let model: Model;
    let features: string[];

    beforeAll(async () => {
      const [, , height, width] = input.shape;
      model = await Model.load(archivePath(name), { device, card: plainCard(height!, width!) });
      const { nodes } = await model.inspect();
      const isLost = (path: string): boolean =>
        name.endsWith('-traced') && IDENTITIES.test(path) && !nodes.some((node) => node.name === nodeName(path));
      features = isFrozen ? [] : keys('features.').filter((path) => !isLost(path));
    });
    afterAll(() => model.close());

    /** What was captured, under a key of the reference, and how to capture it anew. */
    const check = async (
      captured: Captured,
      of: (captured: Captured) => Tensor | undefined,
      key: string,
      again: (seed: number) => Promise<Captured>,
    ): Promise<void> => {
      expect(of(captured), key).toBeDefined();
      await expectRounded(of(captured)!.data, floats(key), key, {
        model,
        promised,
        again: async (seed) => of(await again(seed))!.data,
      });
    };

    it('taps features, attention, queries, keys and values equal to PyTorch', async () => {
      const sites = {
        attention: keys('attention.').map(Number),
        query: keys('query.').map(Number),
        key: keys('key.').map(Number),
        value: keys('value.').map(Number),
      };
      const inspection = await model.inspect();
      expect(inspection.attention.length).toBe(sites.attention.length);
      if (features.length + sites.attention.length === 0) return;
      const capture = (seed = 0) =>
        model.capture([nudged(image, seed)], {
          features: features.map(nodeName),
          ...(sites.attention.length > 0 && sites),
        });
      const captured = await capture();
      for (const path of features) {
        await check(captured, (each) => each.features[nodeName(path)], `features.${path}`, capture);
      }
      for (const kind of kinds) {
        for (const site of sites[kind]) {
          await check(captured, (each) => each[kind][site], `${kind}.${site}`, capture);
        }
      }
    });

    it('gives the logits and gradients of PyTorch', async () => {
      const paths = isFrozen ? [] : keys('gradients.features.');
      const sites = keys('gradients.attention.').map(Number);
      const fallback = (await model.inspect()).nodes[0]!.name;
      // Features and attention apart: asked for together, the leaf lies at the earliest of both, which is also tested.
      const ofFeature = (path: string) => (each: Captured) => each.gradients!.features[nodeName(path)];
      const ofSite = (site: number) => (each: Captured) => each.gradients!.attention[site];
      const byFeature = (seed = 0) =>
        model.capture([nudged(image, seed)], {
          features: paths.length > 0 ? paths.map(nodeName) : [fallback],
          gradients: { target },
        });
      const features = await byFeature();
      await check(features, ({ logits }) => logits!, 'logits', byFeature);
      for (const path of paths) await check(features, ofFeature(path), `gradients.features.${path}`, byFeature);
      if (sites.length === 0) return;
      const bySite = (seed = 0) => model.capture([nudged(image, seed)], { attention: sites, gradients: { target } });
      const attention = await bySite();
      await check(attention, ({ logits }) => logits!, 'logits', bySite);
      for (const site of sites) await check(attention, ofSite(site), `gradients.attention.${site}`, bySite);
      const byBoth = (seed = 0) =>
        model.capture([nudged(image, seed)], {
          features: paths.map(nodeName),
          attention: sites,
          gradients: { target },
        });
      const together = await byBoth();
      for (const path of paths) await check(together, ofFeature(path), `gradients.features.${path}`, byBoth);
      for (const site of sites) await check(together, ofSite(site), `gradients.attention.${site}`, byBoth);
    });

    it.each(MAPS.filter(([key]) => reference.has(`maps.${key}`)))('%s', async (key, options) => {
      const explain = async (seed = 0) =>
        (await model.explain([nudged(image, seed)], { ...options, targets: [target], size: 'grid', raw: true })).map(
          ({ maps }) => maps[0]!,
        );
      const maps = await explain();
      const [rows, columns] = Array.from(reference.get('grid')!.data, Number);
      expect(maps[0]!.shape).toEqual([rows, columns]);
      const all = (of: typeof maps): number[] => of.flatMap(({ data }) => [...data]);
      await expectRounded(all(maps), floats(`maps.${key}`), `${name} ${key}`, {
        model,
        promised,
        again: async (seed) => all(await explain(seed)),
      });
    });

    it('says of each of these methods whether it applies, as the maps show', async () => {
      const { methods } = await model.inspect();
      for (const asked of new Set(MAPS.map(([, { method }]) => method))) {
        expect([asked, methods.find(({ name }) => name === asked)!.applies]).toEqual([
          asked,
          reference.has(`maps.${asked}`),
        ]);
      }
    });
  });
}
