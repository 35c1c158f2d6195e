import { readFileSync, rmSync } from 'node:fs';
import path from 'node:path';

import { describe, expect, it } from 'vitest';

import { Model, pull } from '../../lib/index.js';
import { catalog, skeletonOf } from '../../lib/models/catalog.js';
import { temporaryFolder, useHub } from '../hub/fixtures.js';
import { findPython, runPython } from '../support/python.js';
import { expectRounded, nudged, type Pixels } from '../support/rounding.js';
import { readSafetensors } from '../support/safetensors.js';

const python = findPython();
const SEED = 7;

// All of them take minutes and gigabytes: SIGHTLINE_WHOLE_CATALOGUE=1. One of each kind stands for them otherwise.
const EACH_KIND = [
  'test_vit',
  'test_convnext',
  'resnet18',
  'deit_tiny_distilled_patch16_224',
  'dinov2_small_registers',
  'swin_tiny_patch4_window7_224',
  'vit_tiny_patch16_384',
  'efficientnet_b0',
  'mobilenetv3_small_100',
  'densenet121',
];
const isWhole = process.env['SIGHTLINE_WHOLE_CATALOGUE'] === '1';
const cards = (await catalog()).filter(({ name }) => isWhole || EACH_KIND.includes(name));

describe.skipIf(python === null)('a checkpoint of the catalog, pulled and loaded', () => {
  it.each(cards.map((card) => [card.name, card] as const))(
    '%s gives the logits of its library, and the maps of an export',
    async (name, card) => {
      const { hub } = await useHub();
      const folder = temporaryFolder();
      const file = path.join(folder, 'seeded.safetensors');
      const { size: usual } = (await skeletonOf(card.architecture)).card;
      const size = card.input.width === usual ? [] : [String(card.input.width)];
      await runPython(python!, [
        'models/skeletons.py',
        '--weights',
        card.architecture,
        '--seed',
        String(SEED),
        '--out',
        file,
        ...size.flatMap((each) => ['--size', each]),
      ]);
      hub.add(
        card.weights.repository,
        { [card.weights.file]: { lfs: readFileSync(file) } },
        /^[0-9a-f]{40}$/.test(card.weights.revision) ? { commit: card.weights.revision } : {},
      );
      rmSync(file);

      await expect(Model.load(name)).rejects.toMatchObject({
        code: 'NOT_PULLED',
        message: expect.stringContaining(`run \`sightline pull ${name}\``),
      });
      await pull(name);

      const reference = readSafetensors(path.join(folder, 'seeded.reference.safetensors'));
      const [image, logits] = [reference.get('image')!, reference.get('logits')!];
      const tensor = { data: image.data as Float32Array, shape: image.shape };
      // As the library runs it: operator for operator, by one thread.
      const model = await Model.load(name, { device: 'cpu', optimize: false, threads: 1 });
      const exported = path.join(folder, 'exported.pt');
      await runPython(python!, ['test/skeletons/export_seeded.py', card.architecture, String(SEED), exported, ...size]);
      const peer = await Model.load(exported, {
        device: 'cpu',
        optimize: false,
        threads: 1,
        card: { ...card, architecture: undefined, weights: undefined },
      });
      try {
        const logitsOf = async (pixels: Pixels): Promise<ArrayLike<number>> =>
          (await model.capture(pixels, { features: [card.targetLayer!], gradients: { target: 0 } })).logits!.data;
        await expectRounded(await logitsOf(tensor), logits.data as Float32Array, name, {
          model,
          again: (seed) => logitsOf(nudged(tensor, seed)),
        });

        const found = await model.inspect();
        const expected = await peer.inspect();
        expect(found.attention.map(({ heads, tokens }) => [heads, tokens])).toEqual(
          expected.attention.map(({ heads, tokens }) => [heads, tokens]),
        );
        expect(found.nodes.length).toBe(expected.nodes.length);
        expect([found.parameters, found.flops]).toEqual([card.parameters, card.flops]);
        expect(model.card.targetLayer).toBe(card.targetLayer);

        const apply = found.methods.filter(({ reason }) => reason === null).map(({ name }) => name);
        const method = apply.includes('cam')
          ? 'cam'
          : apply.includes('attention-rollout')
            ? 'attention-rollout'
            : 'grad-cam';
        const layer = method === 'attention-rollout' ? {} : { layer: card.targetLayer! };
        const [own] = await model.explain(tensor, { method, ...layer });
        const [others] = await peer.explain(tensor, { method, ...layer });
        expect(own!.maps[0]!.state).toBe('ok');
        expect(own!.maps[0]!.target.index).toBe(others!.maps[0]!.target.index);
        const again = async (seed: number): Promise<Float32Array> =>
          (await model.explain(nudged(tensor, seed), { method, ...layer }))[0]!.maps[0]!.data;
        await expectRounded(own!.maps[0]!.data, others!.maps[0]!.data, `${name}, ${method}`, { model, again });
      } finally {
        await Promise.all([model.close(), peer.close()]);
      }
    },
  );
});
