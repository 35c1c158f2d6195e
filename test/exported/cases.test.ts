import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Model, type LoadOptions } from '../../lib/index.js';
import { findPython, runPython } from '../support/python.js';

const python = findPython();
const folder = mkdtempSync(path.join(tmpdir(), 'exported-cases-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const FORMS = ['', '-inference', '-core'] as const;
const file = (name: string): string => path.join(folder, `${name}.pt2`);
const load = (name: string, options: LoadOptions = {}): Promise<Model> =>
  Model.load(file(name), { device: 'cpu', ...options });

// As export_cases.py has it: in doubles, rounded once.
function image(height: number, width: number): { data: Float32Array; shape: number[] } {
  return {
    data: Float32Array.from({ length: 3 * height * width }, (_, i) => Math.sin(0.37 * i)),
    shape: [1, 3, height, width],
  };
}

describe.runIf(python !== null)('programs of torch.export', () => {
  let scores: Record<string, Record<string, number[]>>;
  let features: Record<string, Record<string, number[]>>;
  beforeAll(async () => {
    await runPython(python!, ['test/exported/export_cases.py', folder]);
    ({ scores, features } = JSON.parse(readFileSync(path.join(folder, 'expected.json'), 'utf8')) as {
      scores: typeof scores;
      features: typeof features;
    });
  });

  const cases = [
    'plain',
    'one',
    'gated',
    'bent',
    'tuple',
    'dict',
    'shared',
    'kinds',
    'sized',
    'attending',
    'turning',
    'blocks',
    'frozen',
  ];
  describe.each(cases)('%s', (name) => {
    it.each(FORMS)('gives the scores of PyTorch at each size that it was exported for: "%s"', async (form) => {
      await using model = await load(name + form, { optimize: false, ...(name === 'tuple' && { output: '1.0' }) });
      const node = (await model.inspect()).nodes.find(({ gradientObstacle }) => gradientObstacle === '');
      for (const [size, expected] of Object.entries(scores[name]!)) {
        const [height, width] = size.split('x').map(Number);
        const { logits } = await model.capture([image(height!, width!)], {
          features: [node!.name],
          gradients: { target: 0 },
        });
        const largest = Math.max(...expected.map(Math.abs));
        expect(logits!.data).toHaveLength(expected.length);
        for (const [i, value] of expected.entries()) {
          expect(Math.abs(logits!.data[i]! - value) / largest).toBeLessThan(1e-6);
        }
      }
    });

    it.each(FORMS)('has the output of each module by its name: "%s"', async (form) => {
      await using model = await load(name + form, { optimize: false, ...(name === 'tuple' && { output: '1.0' }) });
      const { nodes } = await model.inspect();
      const names = nodes.map((node) => node.name).filter((node) => node in features[name]!);
      // Of what stood in a block, a decomposition forgets the modules.
      const isForgotten = form !== '' && ['blocks', 'frozen'].includes(name);
      expect(names.length).toBeGreaterThan(isForgotten ? 0 : Object.keys(features[name]!).length / 2);
      const [height, width] = Object.keys(scores[name]!)[0]!.split('x').map(Number);
      const captured = await model.capture([image(height!, width!)], { features: names });
      const off: Record<string, number> = {};
      for (const [node, { data }] of Object.entries(captured.features)) {
        const expected = features[name]![node]!;
        expect(data, node).toHaveLength(expected.length);
        const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-6);
        const most = expected.reduce((far, value, k) => Math.max(far, Math.abs(data[k]! - value)), 0) / largest;
        // Some dozens of operations in float32.
        if (most > 2 ** -18) off[node] = most;
      }
      expect(off).toEqual({});
    });
  });

  it.each(FORMS)('names the outputs of modules by their paths, each call of a module apart: "%s"', async (form) => {
    await using model = await load(`plain${form}`);
    const { nodes, targetLayer } = await model.inspect();
    expect(nodes.map(({ name }) => name)).toEqual([
      'conv',
      'bn',
      'relu',
      'blocks.0',
      'relu:1',
      'blocks.0:1',
      'blocks.1',
      'blocks.2',
      'blocks',
      'pool',
      'drop',
      'fc',
    ]);
    expect(targetLayer).toBe('blocks');
  });

  it.each(FORMS)('finds attention, fused and written out, by the module that it stands in: "%s"', async (form) => {
    await using model = await load(`attending${form}`);
    const { attention } = await model.inspect();
    expect(attention.map(({ heads, tokens }) => [heads, tokens])).toEqual([
      [3, 7],
      [1, 7],
    ]);
    expect(attention[0]!.name).toBe('attention');
    const captured = await model.capture([image(16, 24)], { attention: [0, 1] });
    for (const site of [0, 1]) {
      const { data } = captured.attention[site]!;
      for (let row = 0; row < data.length; row += 7) {
        expect(data.slice(row, row + 7).reduce((sum, each) => sum + each, 0)).toBeCloseTo(1, 5);
      }
    }
  });

  it.each([
    ['gated', '-inference', 'attn-lrp'],
    ['gated', '-core', 'attn-lrp'],
    ['bent', '-inference', 'guided-backprop'],
    ['bent', '-core', 'guided-backprop'],
  ])('gives the same maps, activations taken apart or not: %s%s', async (name, form, rule) => {
    await using program = await load(name);
    await using other = await load(name + form);
    const applying = async (model: Model): Promise<string[]> =>
      (await model.inspect()).methods.filter(({ applies }) => applies).map(({ name }) => name);
    const methods = await applying(program);
    expect(methods).toContain(rule);
    expect(await applying(other)).toEqual(methods);
    // For the types any one name will do.
    for (const method of methods as 'gae'[]) {
      const [wanted, found] = await Promise.all(
        [program, other].map(async (model) => {
          const [explained] = await model.explain(image(16, 24), { method, raw: true, size: 'grid', targets: [1] });
          return explained!.maps[0]!.data;
        }),
      );
      const largest = wanted!.reduce((most, each) => Math.max(most, Math.abs(each)), 0);
      wanted!.forEach((each, i) => expect(Math.abs(found![i]! - each), method).toBeLessThanOrEqual(1e-4 * largest));
    }
  });

  it('has no gradient where torch.no_grad() was', async () => {
    await using frozen = await load('frozen');
    const { gradientObstacle, nodes } = await frozen.inspect();
    expect(gradientObstacle).toMatch(/no gradient of the scores passes its operator "detach"/);
    const obstacles = Object.fromEntries(nodes.map((node) => [node.name, node.gradientObstacle]));
    expect(obstacles).toMatchObject({ body: gradientObstacle, neck: '', fc: '' });
    await expect(
      frozen.capture([image(16, 24)], { features: ['body.1'], gradients: { target: 0 } }),
    ).rejects.toMatchObject({
      code: 'METHOD_NOT_APPLICABLE',
      message: `The gradient of features body.1 cannot be captured: ${gradientObstacle}.`,
    });
    await using blocks = await load('blocks');
    expect((await blocks.inspect()).gradientObstacle).toBe('');
  });

  it('returns several outputs by name, as an archive does', async () => {
    await using dict = await load('dict');
    expect((await dict.inspect()).outputs.map(({ name }) => name)).toEqual(['features', 'logits']);
    expect((await dict.inspect()).output).toBe('logits');
    await using tuple = await load('tuple');
    expect((await tuple.inspect()).outputs.map(({ name }) => name)).toEqual(['0', '1.0', '1.1']);
  });

  it('runs a program of one image one by one, and says so', async () => {
    await using model = await load('one');
    expect((await model.inspect()).canBatch).toBe(false);
    expect(model.notes.join(' ')).toMatch(/run one by one/);
    const images = [image(32, 40), { data: image(32, 40).data.map((value) => value * 2), shape: [1, 3, 32, 40] }];
    const together = await model.predict(images);
    const [alone] = await model.predict([images[1]!]);
    expect(together[1]!.predictions).toEqual(alone!.predictions);
  });

  it('takes the size of its images from the program, where no card says it', async () => {
    await using model = await load('plain');
    expect(model.card.input).toMatchObject({ width: 40, height: 32 });
  });

  it('counts what is there twice as the module does', async () => {
    await using model = await load('shared');
    expect((await model.inspect()).parameters).toBeGreaterThan(0);
  });

  it.each([
    ['one', 24, 40, /images of 40 x 32 pixels alone, not for 40 x 24/],
    ['plain', 4, 40, /images of other sides .*from 8 to 512 pixels.*, not for 40 x 4/],
    ['plain', 32, 520, /from 8 to 512 pixels/],
    ['sized', 34, 24, /images of other sides .*4\*/],
  ])('refuses images that %s was not exported for: %d x %d', async (name, height, width, sentence) => {
    await using model = await load(name);
    await expect(model.inspect({ height, width })).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      message: expect.stringMatching(sentence) as string,
    });
    await expect(model.predict([image(height, width)])).rejects.toMatchObject({ code: 'INVALID_INPUT' });
  });

  it.each([
    ['two-images', /exported for batches of 2 images alone; give torch.export.export dynamic_shapes/],
    ['branching', /operator higher_order::cond, a program within the program/],
    ['autocast', /operator higher_order::wrap_with_autocast, in which torch.autocast chooses the precision/],
    ['in-place', /changes a tensor in place in torch\.no_grad\(\)/],
    ['custom', /operator sightline_test::twice, which is a custom one/],
    ['two-inputs', /takes more than one image tensor/],
  ])('refuses %s in a sentence', async (name, sentence) => {
    await expect(load(name)).rejects.toMatchObject({
      code: 'UNSUPPORTED_MODEL',
      message: expect.stringMatching(sentence) as string,
    });
    await expect(load(name, { trust: true })).rejects.toMatchObject({ code: 'UNSUPPORTED_MODEL' });
  });
});
