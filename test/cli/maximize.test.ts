import { readdirSync } from 'node:fs';
import path from 'node:path';

import sharp from 'sharp';
import { describe, expect, it } from 'vitest';

import { answerOf, archiveIn, fileFolder, sightline, temporaryFolder, useBuiltCommand } from './command.js';

useBuiltCommand();

const vit = archiveIn(fileFolder(), 'timm-vit-fused-traced', 40, 24);

interface Answer {
  model: string;
  objective: string;
  activation: number;
  activations: { step: number; activation: number }[];
  options: Record<string, unknown>;
  shape: number[];
  picture: string;
  pictures: { step: number; activation: number; picture: string }[];
}

const ask = (...rest: string[]): Promise<Answer> =>
  answerOf<Answer>('maximize', '--model', vit, '--device', 'cpu', ...rest);

describe('maximize', () => {
  it('writes the picture and one each so many steps, and says what it did', async () => {
    const out = temporaryFolder();
    const answer = await ask(
      '--node',
      'blocks.1',
      '--channel',
      '4',
      '--steps',
      '20',
      '--every',
      '10',
      '--seed',
      '3',
      '--out',
      path.join(out, 'deep', 'channel.png'),
    );
    expect(answer.objective).toBe('channel 4 of blocks.1');
    expect(answer.shape).toEqual([3, 24, 40]);
    expect(answer.pictures.map(({ step }) => step)).toEqual([0, 10, 20]);
    expect(answer.activations.map(({ step }) => step)).toEqual([0, 8, 10, 18, 20]);
    expect(answer.activation).toBeGreaterThan(answer.activations[0]!.activation);
    expect(answer.options).toMatchObject({ steps: 20, every: 10, seed: 3, parametrization: 'fourier', of: 'feature' });
    expect(readdirSync(path.join(out, 'deep')).sort()).toEqual([
      'channel-step-0000.png',
      'channel-step-0010.png',
      'channel-step-0020.png',
      'channel.png',
    ]);
    const pixels = (file: string): Promise<Buffer> => sharp(file).raw().toBuffer();
    const last = await pixels(answer.picture);
    expect(last).toHaveLength(3 * 24 * 40);
    expect(await pixels(answer.pictures[2]!.picture)).toEqual(last);
    expect(await pixels(answer.pictures[0]!.picture)).not.toEqual(last);
  });

  it.each([
    [
      ['--node', 'blocks.1.attn', '--head', '2'],
      'attention of the class token to the patches, head 2 of blocks.1.attn',
    ],
    [
      ['--node', 'blocks.1', '--of', 'attention', '--unit', '1,3'],
      'attention of the class token to the patch (1, 3), all heads of blocks.1.attn',
    ],
    [
      ['--node', 'blocks.0', '--of', 'q', '--channel', '3', '--head', '1'],
      'queries: channel 3, head 1 of blocks.0.attn',
    ],
    [['--node', 'blocks.0', '--token', '0'], 'token 0 of blocks.0'],
    [['--class', '2'], 'class 2'],
    [['--class', '2', '--against', 'class 5'], 'class 2 against class 5'],
  ])('takes %j', async (flags, objective) => {
    const answer = await ask(...flags, '--steps', '2', '--out', path.join(temporaryFolder(), 'x.webp'));
    expect(answer.objective).toBe(objective);
    expect((await sharp(answer.picture).metadata()).format).toBe('webp');
  });

  it('takes every setting', async () => {
    const settings = [
      '--parametrization',
      'pixel',
      '--decorrelate',
      '--learning-rate',
      '0.1',
      '--l2',
      '0.5',
      '--total-variation',
      '0.25',
      '--jitter',
      '1',
      '--blur',
      '3,0.5,2',
    ];
    const { options } = await ask(
      '--node',
      'blocks.0',
      '--channel',
      '0',
      '--steps',
      '2',
      ...settings,
      '--out',
      path.join(temporaryFolder(), 'x.png'),
    );
    expect(options).toMatchObject({
      parametrization: 'pixel',
      decorrelate: true,
      learningRate: 0.1,
      l2: 0.5,
      totalVariation: 0.25,
      jitter: 1,
      blur: { size: 3, sigma: 0.5, every: 2 },
    });
    const fourier = await ask(
      '--node',
      'blocks.0',
      '--channel',
      '0',
      '--steps',
      '2',
      '--decay',
      '0.8',
      '--no-decorrelate',
      '--out',
      path.join(temporaryFolder(), 'x.png'),
    );
    expect(fourier.options).toMatchObject({ decay: 0.8, decorrelate: false });
  });

  it('speaks to people in lines', async () => {
    const out = path.join(temporaryFolder(), 'x.png');
    const { code, stdout, stderr } = await sightline(
      'maximize',
      '--model',
      vit,
      '--device',
      'cpu',
      '--class',
      '1',
      '--steps',
      '4',
      '--out',
      out,
    );
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^class 1: activation -?[\d.e-]+ at the start, -?[\d.e-]+ after 4 steps\n/);
    expect(stdout).toContain(out);
  });

  it.each([
    [['--node', 'blocks.9', '--channel', '0'], /no node "blocks\.9"/],
    [['--node', 'blocks.1', '--channel', '400'], /no channel 400/],
    [['--node', 'blocks.1', '--channel', '0', '--steps', '0'], /whole number of at least 1/],
    [['--node', 'blocks.1', '--channel', '0', '--blur', '4,1'], /blur\.size: an odd number/],
    [['--node', 'blocks.1', '--channel', '0', '--blur', 'strong'], /such as 5,1,4/],
    [['--node', 'blocks.1', '--channel', '0', '--unit', '3'], /such as 3,5/],
    [['--node', 'blocks.1', '--of', 'keys'], /Give feature, attention/],
    [['--against', '3'], /--against needs the --class/],
    [[], /nothing to maximize/],
  ])('refuses %j in one line', async (flags, sentence) => {
    const { code, stdout, stderr } = await sightline(
      'maximize',
      '--model',
      vit,
      '--device',
      'cpu',
      ...flags,
      '--out',
      path.join(temporaryFolder(), 'x.png'),
    );
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(/^sightline: [^\n]+\n$/);
    expect(stderr).toMatch(sentence);
  });

  it('refuses a name that is no picture before it loads the model', async () => {
    const { code, stderr } = await sightline(
      'maximize',
      '--model',
      'no-such.pt',
      '--class',
      '1',
      '--out',
      'picture.txt',
    );
    expect(code).toBe(2);
    expect(stderr).toMatch(/--out picture\.txt names no format/);
  });
});
