import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Model, type ModelCard } from '../../lib/index.js';
import { modelMembers, pickle, zip } from '../archives/forge.js';
import { plainCard } from '../support/models.js';
import { findPython, runPython } from '../support/python.js';

const python = findPython();

describe('messages are true, and none is LibTorch’s', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sightline-messages-'));
    if (python !== null) await runPython(python, ['test/graphs/messages_models.py', folder]);
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const load = (name: string, card: ModelCard): Promise<Model> =>
    Model.load(join(folder, `${name}.pt`), { device: 'cpu', card });
  /** A card for tensors of so many channels. */
  const withChannels = (channels: number): ModelCard => {
    const card = plainCard(32, 32);
    return {
      ...card,
      input: { ...card.input, channels, mean: Array<number>(channels).fill(0), std: Array<number>(channels).fill(1) },
    };
  };

  describe.skipIf(python === null)('of exports', () => {
    it('a trace that was made in training mode is said to be one', async () => {
      await using model = await load('in-training', plainCard(32, 32));
      expect(model.notes.join(' ')).toContain('was exported in training mode');
      expect(await model.inspect()).toMatchObject({ wasTraining: true });
    });

    it.each(['scripted-attention', 'scripted-in-training', 'lite'])(
      '%s is not: it is set to inference',
      async (name) => {
        await using model = await load(name, plainCard(32, 32));
        expect(model.notes.join(' ')).not.toContain('training mode');
        const image = { data: new Float32Array(3 * 32 * 32).fill(0.3), shape: [1, 3, 32, 32] } as const;
        const [first] = await model.predict({ ...image, shape: [...image.shape] });
        const [second] = await model.predict({ ...image, shape: [...image.shape] });
        expect(first!.logits.data).toEqual(second!.logits.data);
      },
    );

    it.each([
      [
        'parted',
        3,
        'a convolution of it takes 2 channels and gets 0, from images of 3; say in a card how many `channels`',
      ],
      ['flat', 3, 'a linear layer of it takes 1024 numbers and gets 3072; say in a card which size'],
      ['viewed', 3, 'a view of it makes [1, 4, 8, 8] of 1024 numbers; say in a card which size'],
    ])('%s, of images with %i channels: what does not fit is told', async (name, channels, why) => {
      const error = (await load(name, withChannels(channels)).catch((thrown: unknown) => thrown)) as Error;
      expect(error).toMatchObject({ code: 'INVALID_INPUT' });
      expect(error.message).toContain(`The model does not run on images of 32x32: ${why}`);
      expect(error.message).not.toMatch(/groups=|mat1|expected input|invalid for input/);
    });
  });

  it.each([
    ['operators', { forward: '    y = ops.prepacked.conv2d_clamp_run(x, self.weight)\n    return y\n' }],
    ['objects', { attributes: { packed: pickle.object('__torch__.torch.classes.xnnpack', 'Conv2dOpContext', {}) } }],
  ])('an archive that was optimized for mobile, by its %s: trust is not advised', async (_, forged) => {
    const path = join(folder, 'phone.pt');
    await writeFile(path, zip(modelMembers(forged)));
    const error = (await Model.load(path, { device: 'cpu' }).catch((thrown: unknown) => thrown)) as Error;
    expect(error).toMatchObject({ code: 'NOT_TORCHSCRIPT' });
    expect(error.message).toMatch(
      /optimized for mobile devices: .* save the plain trace, before optimize_for_mobile\.$/,
    );
    expect(error.message).not.toContain('trust');
  });
});
