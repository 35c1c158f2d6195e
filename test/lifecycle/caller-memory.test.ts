import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Model, stats } from '../../lib/index.js';
import { cardOf, CNN, imagesOf, until } from '../concurrency/models.js';
import { expectEnding, runChild } from './child.js';

const fixture = fileURLToPath(new URL('../images/fixtures/rgb.png', import.meta.url));

/** What of a buffer is given and then taken back. */
const transfer = (buffer: ArrayBuffer): void => void structuredClone(buffer, { transfer: [buffer] });

describe('memory that its owner takes back right after the call', () => {
  let model: Model;
  beforeAll(async () => {
    model = await Model.load(CNN.path, { device: 'cpu', card: cardOf(CNN) });
  });
  afterAll(() => model.close());

  /** The call's result, or a typed refusal; anything else fails. */
  async function outcome(work: Promise<unknown[]>): Promise<string> {
    try {
      return `${(await work).length} results`;
    } catch (error) {
      expect(error).toMatchObject({ name: 'SightlineError', code: expect.stringMatching(/^INVALID_(INPUT|IMAGE)$/) });
      expect((error as Error).message).toMatch(/transferred or resized|has 0 bytes|is empty/);
      return 'refused';
    }
  }

  it.each([
    [
      'encoded bytes',
      async () => {
        const bytes = new Uint8Array(await readFile(fixture));
        return { input: bytes, buffer: bytes.buffer };
      },
    ],
    [
      'an ArrayBuffer',
      async () => {
        const bytes = new Uint8Array(await readFile(fixture));
        return { input: bytes.buffer, buffer: bytes.buffer };
      },
    ],
    [
      'raw pixels',
      async () => {
        const data = new Uint8Array(41 * 27 * 3);
        return { input: { data, width: 41, height: 27, channels: 3 }, buffer: data.buffer };
      },
    ],
    [
      'raw pixels with alpha',
      async () => {
        const data = new Uint8Array(41 * 27 * 4);
        return { input: { data, width: 41, height: 27, channels: 4 }, buffer: data.buffer };
      },
    ],
    [
      'a tensor',
      async () => {
        const input = imagesOf(CNN, 1);
        return { input, buffer: input.data.buffer };
      },
    ],
  ] as const)('%s, transferred: done or refused, never a crash or an untyped error', async (_, make) => {
    for (let i = 0; i < 5; i++) {
      const { input, buffer } = await make();
      const work = outcome(model.predict(input as never));
      transfer(buffer as ArrayBuffer);
      expect(await work).toMatch(/^(1 results|refused)$/);
    }
  });

  it('the images behind the first that are decoded', async () => {
    const tensor = imagesOf(CNN, 70);
    const work = outcome(model.predict(tensor));
    await new Promise((resolve) => setImmediate(resolve));
    transfer(tensor.data.buffer as ArrayBuffer);
    expect(await work).toMatch(/^(70 results|refused)$/);
  });

  it('a buffer that was transferred before the call is refused', async () => {
    const bytes = new Uint8Array(await readFile(fixture));
    transfer(bytes.buffer);
    await expect(model.predict(bytes)).rejects.toMatchObject({ name: 'SightlineError', code: 'INVALID_IMAGE' });
    const tensor = imagesOf(CNN, 1);
    transfer(tensor.data.buffer as ArrayBuffer);
    await expect(model.predict(tensor)).rejects.toMatchObject({ name: 'SightlineError', code: 'INVALID_INPUT' });
  });

  it('resizable memory that shrinks while sharp decodes does not end the process', async () => {
    expectEnding(await runChild(new URL('./children/shrinking.mjs', import.meta.url)), { stages: ['loaded', 'done'] });
  });

  it('what was read before it was taken back is the picture', async () => {
    const { data } = await sharp(fixture).removeAlpha().raw().toBuffer({ resolveWithObject: true });
    const bytes = new Uint8Array(await readFile(fixture));
    const done = stats().queued + stats().running + stats().completed;
    const work = model.capture(
      { data: new Uint8Array(data), width: 41, height: 27, channels: 3 },
      { features: ['layer1'], input: true },
    );
    const other = model.capture(bytes, { features: ['layer1'], input: true });
    // Both are decoded: they have reached the engine.
    await until('both images to be decoded', () => stats().queued + stats().running + stats().completed >= done + 2);
    bytes.fill(0);
    expect((await other).input!.data).toEqual((await work).input!.data);
  });
});
