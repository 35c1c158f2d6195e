import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { crc32 } from 'node:zlib';

import { describe, expect, it } from 'vitest';

import { encodeNpy, versions } from '../../lib/index.js';
import { answerOf, archiveIn, DEMO, fileFolder, ROOT, sightline, useBuiltCommand } from './command.js';

useBuiltCommand();

const folder = fileFolder();
const PICTURE = path.join(DEMO, 'disc-and-flower.png');
const ARCHIVES = path.join(ROOT, 'test', 'parity', 'archives');
const at = (name: string): string => path.join(folder, name);
const write = (name: string, content: string | Uint8Array): string => {
  writeFileSync(at(name), content);
  return at(name);
};

const convNet = archiveIn(folder, 'conv-net', 48, 32);
const mlp = archiveIn(folder, 'mlp', 8, 8);
const resnet = archiveIn(folder, 'torchvision-resnet-traced', 48, 32);
const quantised = archiveIn(folder, 'quantised-static', 48, 32);
const vit = archiveIn(folder, 'timm-vit-fused-traced', 40, 24);
const twoInputs = path.join(ARCHIVES, 'two-inputs.pt');
const text = write('text.pt', 'this is no archive\n');
const whole = readFileSync(path.join(ARCHIVES, 'torchvision-resnet-traced.pt'));
const truncated = write('truncated.pt', whole.subarray(0, whole.length / 2));
const badCard = at('bad-card.pt');
copyFileSync(path.join(ARCHIVES, 'mlp.pt'), badCard);
write('bad-card.json', '{"name": "bad", "imput": {}}');
const empty = write('empty.png', '');
const noPicture = write('text.jpg', 'this is no picture');
const bomb = write('bomb.png', pngHeader(50_000, 50_000));
const npy = (name: string, data: Float32Array | Float64Array, shape: readonly number[]): string =>
  write(name, encodeNpy({ data, shape }));
const withNaN = npy(
  'nan.npy',
  new Float32Array(3 * 24 * 40).map((_, i) => (i === 24 * 40 + 41 ? NaN : 0)),
  [1, 3, 24, 40],
);
const doubles = npy('doubles.npy', new Float64Array(3 * 24 * 40), [1, 3, 24, 40]);
const flatShape = npy('flat.npy', new Float32Array(3 * 24 * 40), [3, 24, 40]);
const pair = npy('pair.npy', new Float32Array(2 * 3 * 24 * 40), [2, 3, 24, 40]);
mkdirSync(at('folder.npy'));

/** The signature and the first chunk of a PNG of that size, with nothing behind it. */
function pngHeader(width: number, height: number): Buffer {
  const chunk = Buffer.alloc(25);
  chunk.writeUInt32BE(13, 0);
  chunk.write('IHDR', 4, 'latin1');
  chunk.writeUInt32BE(width, 8);
  chunk.writeUInt32BE(height, 12);
  chunk.set([8, 2, 0, 0, 0], 16);
  chunk.writeUInt32BE(crc32(chunk.subarray(4, 21)), 21);
  return Buffer.concat([Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]), chunk]);
}

const explain = (model: string, method: string, ...rest: string[]): string[] => [
  'explain',
  PICTURE,
  '--model',
  model,
  '--method',
  method,
  ...rest,
];
const explainImage = (image: string, ...rest: string[]): string[] => [
  'explain',
  image,
  '--model',
  'resnet-tiny-shapes',
  '--method',
  'cam',
  ...rest,
];
const explainArray = (file: string): string[] => ['explain', file, '--model', vit, '--method', 'gae'];

/** What is asked, the code of the refusal, and what its sentence must say. */
const REFUSALS: readonly (readonly [what: string, args: readonly string[], code: string, sentence: RegExp])[] = [
  ['a model file that is not there', explain(at('none.pt'), 'cam'), 'FILE_NOT_FOUND', /none\.pt/],
  [
    'a model name that is nearly right',
    explain('resnet-tiny-shape', 'cam'),
    'UNKNOWN_MODEL',
    /Did you mean "resnet-tiny-shapes"\?/,
  ],
  ['a folder as the model', explain(folder, 'cam'), 'NOT_A_FILE', /is a directory/],
  ['a text file named .pt', explain(text, 'cam'), 'NOT_TORCHSCRIPT', /text\.pt/],
  ['a truncated archive', explain(truncated, 'cam'), 'NOT_TORCHSCRIPT', /truncated\.pt/],
  ['a forward of two inputs', explain(twoInputs, 'cam'), 'UNSUPPORTED_MODEL', /wants another input/],
  ['a card with a misspelt field', explain(badCard, 'cam'), 'INVALID_CARD', /bad-card\.json/],
  ['a gradient method of quantised weights', explain(quantised, 'grad-cam'), 'METHOD_NOT_APPLICABLE', /quantized/],
  [
    'rollout of a model without attention',
    explain(convNet, 'attention-rollout'),
    'METHOD_NOT_APPLICABLE',
    /it has no attention/,
  ],
  ['rollout of an MLP', explain(mlp, 'attention-rollout'), 'METHOD_NOT_APPLICABLE', /it has no attention/],
  ['rollout of a ResNet', explain(resnet, 'attention-rollout'), 'METHOD_NOT_APPLICABLE', /it has no attention/],
  ['gradient rollout of a ResNet', explain(resnet, 'gradient-rollout'), 'METHOD_NOT_APPLICABLE', /it has no attention/],
  [
    'cam of a ViT that reads its class token',
    explain(vit, 'cam'),
    'METHOD_NOT_APPLICABLE',
    /no linear layer on a spatially averaged feature/,
  ],
  [
    'a layer that does not exist',
    explain(resnet, 'grad-cam', '--layer', 'layr4'),
    'UNKNOWN_NODE',
    /"layr4".*Did you mean .*"layer4"/,
  ],
  [
    'a layer for a method without layers',
    explain(vit, 'attention-rollout', '--layer', 'norm'),
    'INVALID_OPTION',
    /has no option "layer"/,
  ],
  [
    'a class beyond the last',
    explain(resnet, 'cam', '--target', '7'),
    'UNKNOWN_TARGET',
    /no class 7: the model has 7, numbered from 0 to 6/,
  ],
  [
    'a class beyond the last of a card with labels',
    explainImage(PICTURE, '--target', '12'),
    'UNKNOWN_TARGET',
    /no class 12/,
  ],
  ['more best classes than there are', explain(resnet, 'cam', '--target', 'top8'), 'UNKNOWN_TARGET', /top8/],
  [
    'a label that is nearly right',
    explainImage(PICTURE, '--target', 'wavy stat'),
    'UNKNOWN_TARGET',
    /Did you mean "wavy star"\?/,
  ],
  ['an image that is not there', explainImage(at('none.png')), 'FILE_NOT_FOUND', /none\.png/],
  ['a folder as the image', explainImage(folder), 'NOT_A_FILE', /is a directory/],
  ['an image of 0 bytes', explainImage(empty), 'INVALID_IMAGE', /empty\.png is empty/],
  ['a text file as the image', explainImage(noPicture), 'INVALID_IMAGE', /text\.jpg/],
  ['a PNG that claims 50,000 x 50,000 pixels', explainImage(bomb), 'INVALID_IMAGE', /50000 x 50000/],
  ['a .npy with NaN', explainArray(withNaN), 'INVALID_INPUT', /nan\.npy holds NaN at \[0, 1, 1, 1\]/],
  ['a .npy of doubles', explainArray(doubles), 'INVALID_INPUT', /float64/],
  ['a .npy without a batch axis', explainArray(flatShape), 'INVALID_INPUT', /\[3, 24, 40\]/],
  ['a folder named .npy', explainArray(at('folder.npy')), 'NOT_A_FILE', /is a directory/],
  ['a .npy that is not there', explainArray(at('none.npy')), 'FILE_NOT_FOUND', /none\.npy/],
  ['a .npy that is none', explainArray(write('text.npy', 'text')), 'INVALID_INPUT', /text\.npy/],
  [
    'a method that is nearly right',
    explain('resnet-tiny-shapes', 'gard-cam'),
    'INVALID_OPTION',
    /Did you mean "grad-cam"/,
  ],
  [
    'an option that the method lacks',
    explain(vit, 'gae', '--option', 'discardRatio=0.5'),
    'INVALID_OPTION',
    /gae has no option "discardRatio"/,
  ],
  [
    "an option's value out of range",
    explain(vit, 'attention-rollout', '--option', 'discardRatio=1'),
    'INVALID_OPTION',
    /discardRatio/,
  ],
  [
    'an option without a value',
    explain(vit, 'attention-rollout', '--option', 'discardRatio'),
    'INVALID_OPTION',
    /key=value/,
  ],
  ['an option that has a flag', explain(vit, 'attention-rollout', '--option', 'size=grid'), 'INVALID_OPTION', /--size/],
  [
    'more blocks than there are',
    explain(vit, 'attention-rollout', '--option', 'startBlock=9'),
    'INVALID_OPTION',
    /startBlock is 9/,
  ],
  [
    'an option of another method than the one that is chosen',
    ['explain', PICTURE, '--model', resnet, '--option', 'headFusion=max'],
    'INVALID_OPTION',
    /cam has no option "headFusion"/,
  ],
  [
    'no method for a model that none suits',
    ['explain', PICTURE, '--model', mlp],
    'METHOD_NOT_APPLICABLE',
    /cam: .*attention-rollout: .*grad-cam: /,
  ],
  ['no image', ['explain', '--model', vit, '--method', 'gae'], 'INVALID_OPTION', /image/],
  ['an unknown device', explainImage(PICTURE, '--device', 'tpu'), 'INVALID_OPTION', /cpu, cuda, cuda:N or auto/],
  ['no threads', explainImage(PICTURE, '--threads', '0'), 'INVALID_OPTION', /at least 1/],
  ['an unknown flag', explainImage(PICTURE, '--coulour', 'red'), 'INVALID_OPTION', /unknown option '--coulour'/i],
  ['files asked for, but no folder', explainImage(PICTURE, '--raw'), 'INVALID_OPTION', /--out DIR/],
  ['a file as the folder', explainImage(PICTURE, '--out', text), 'INVALID_OPTION', /text\.pt is a file/],
  ['an opacity of 2', explainImage(PICTURE, '--opacity', '2', '--out', folder), 'INVALID_OPTION', /--opacity is 2/],
  [
    'no command',
    [],
    'INVALID_OPTION',
    /explain, compare, inspect, capture, attention, maximize, evaluate, search, sanity, serve, bench, doctor, models, pull, setup/,
  ],
  ['a command that is nearly right', ['explian'], 'INVALID_OPTION', /Did you mean explain\?/],
  ['a command that does not exist', ['transmogrify'], 'INVALID_OPTION', /transmogrify/],
  ['inspect of no model', ['inspect', at('none.pt')], 'FILE_NOT_FOUND', /none\.pt/],
  ['capture of nothing', ['capture', PICTURE, '--model', resnet, '--out', folder], 'INVALID_OPTION', /--node/],
  [
    'capture of a node that does not exist',
    ['capture', PICTURE, '--model', resnet, '--node', 'layer9', '--out', folder],
    'UNKNOWN_NODE',
    /Did you mean/,
  ],
  [
    'capture of attention that is not there',
    ['capture', PICTURE, '--model', resnet, '--attention', '--out', folder],
    'METHOD_NOT_APPLICABLE',
    /no attention/,
  ],
  [
    'capture of two gradients',
    ['capture', PICTURE, '--model', resnet, '--node', 'layer4', '--gradient', 'top2', '--out', folder],
    'INVALID_OPTION',
    /one class/,
  ],
  [
    'attention of a ResNet',
    ['attention', PICTURE, '--model', resnet, '--out', at('a.png')],
    'METHOD_NOT_APPLICABLE',
    /no attention/,
  ],
  [
    'attention of a block beyond the last',
    ['attention', PICTURE, '--model', vit, '--block', '2', '--out', at('a.png')],
    'INVALID_OPTION',
    /no block 2/,
  ],
  [
    'channels of probabilities',
    ['attention', PICTURE, '--model', vit, '--channel', '0', '--out', at('a.png')],
    'INVALID_OPTION',
    /channels/,
  ],
  ['attention of two images', ['attention', pair, '--model', vit, '--out', at('a.png')], 'INVALID_INPUT', /2 images/],
  [
    'a picture of no known format',
    ['attention', PICTURE, '--model', vit, '--out', at('a.gif7')],
    'INVALID_OPTION',
    /\.png, \.jpg/,
  ],
  [
    'a comparison that one model does not allow',
    ['compare', PICTURE, '--model', resnet, '--model', vit, '--method', 'cam', '--out', at('c.png')],
    'METHOD_NOT_APPLICABLE',
    /timm-vit-fused-traced\.pt: cam cannot/,
  ],
  // The image is not there, which is found when it is computed.
  [
    'a comparison that one pair does not allow, before anything is computed',
    [
      'compare',
      at('none.png'),
      '--model',
      resnet,
      '--model',
      vit,
      '--method',
      'grad-cam',
      '--method',
      'gae',
      '--out',
      at('c.png'),
    ],
    'METHOD_NOT_APPLICABLE',
    /torchvision-resnet-traced\.pt: gae cannot explain it: it has no attention/,
  ],
  [
    'a comparison by a method that is nearly right',
    ['compare', PICTURE, '--method', 'cam', '--method', 'gard-cam', '--out', at('c.png')],
    'INVALID_OPTION',
    /Did you mean "grad-cam"/,
  ],
];

describe('a request that is wrong', () => {
  it.each(REFUSALS)('%s: one line, exit code 2', async (_, args, code, sentence) => {
    const { code: exitCode, stdout, stderr } = await sightline(...args, '--json');
    expect(stderr).toMatch(/^sightline: [^\n]+\n$/);
    expect(stderr).toMatch(sentence);
    expect(exitCode).toBe(2);
    expect(JSON.parse(stdout)).toEqual({ error: { code, message: stderr.slice('sightline: '.length, -1) } });
  });

  it('leaves stdout empty without --json', async () => {
    expect(await sightline(...explainImage(empty))).toEqual({
      code: 2,
      stdout: '',
      stderr: `sightline: ${empty} is empty (0 bytes); expected an image file.\n`,
    });
    expect(await sightline('inspect')).toMatchObject({ code: 2, stdout: '' });
  });

  it('is the GPU where there is none', async () => {
    const { code, stdout, stderr } = await sightline(...explainImage(PICTURE, '--device', 'cuda', '--json'));
    if (versions().cudaDevices > 0) {
      expect(code).toBe(0);
      expect(JSON.parse(stdout)).toHaveProperty('results');
      return;
    }
    expect(code).toBe(2);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'DEVICE_UNAVAILABLE' } });
    expect(stderr).toMatch(/^sightline: [^\n]*doctor[^\n]*\n$/);
  });

  it('writes no picture', () => {
    expect(existsSync(at('a.png'))).toBe(false);
    expect(existsSync(at('c.png'))).toBe(false);
  });
});

describe('help', () => {
  it.each([
    'explain',
    'compare',
    'inspect',
    'capture',
    'attention',
    'maximize',
    'evaluate',
    'search',
    'sanity',
    'bench',
    'doctor',
    'models',
    'setup',
  ])('of %s has examples', async (command) => {
    const { code, stdout, stderr } = await sightline(command, '--help');
    expect(code).toBe(0);
    expect(stderr).toBe('');
    expect(stdout).toContain('--json');
    expect(stdout).toContain(`$ sightline ${command}`);
  });

  it('of the whole lists every command and no other', async () => {
    const { stdout } = await sightline('--help');
    const listed = [...stdout.matchAll(/^ {2}([a-z]+) (?:\[|<|\s)/gm)]
      .map(([, name]) => name)
      .filter((name) => name !== 'help');
    expect(listed).toEqual([
      'explain',
      'compare',
      'inspect',
      'capture',
      'attention',
      'maximize',
      'evaluate',
      'search',
      'sanity',
      'serve',
      'bench',
      'doctor',
      'models',
      'pull',
      'setup',
    ]);
  });
});

it('models and doctor know nothing of models to load, so they take no flags of these', async () => {
  expect(await answerOf('models')).toHaveProperty('models');
  expect((await sightline('models', '--device', 'cpu')).code).toBe(2);
});

describe('a bad image among good ones', () => {
  it('costs no other its result; the answer lists it, and the exit code says so', async () => {
    // More than one chunk, and a bad one in each.
    const good = Array.from({ length: 17 }, (_, i) => {
      copyFileSync(PICTURE, at(`good-${i}.png`));
      return at(`good-${i}.png`);
    });
    const bad = [noPicture, at('missing.png'), doubles, empty];
    const images = [...good.slice(0, 3), ...bad.slice(0, 2), ...good.slice(3), ...bad.slice(2)];
    const outcome = await sightline('explain', ...images, '--model', 'resnet-tiny-shapes', '--method', 'cam', '--json');
    expect(outcome.code).toBe(2);
    const answer = JSON.parse(outcome.stdout) as {
      results: { image: string }[];
      failures: { image: string; error: { code: string; message: string } }[];
    };
    expect(answer.results.map(({ image }) => image)).toEqual(good);
    expect(Object.fromEntries(answer.failures.map(({ image, error }) => [image, error.code]))).toEqual({
      [noPicture]: 'INVALID_IMAGE',
      [at('missing.png')]: 'FILE_NOT_FOUND',
      [doubles]: 'INVALID_INPUT',
      [empty]: 'INVALID_IMAGE',
    });
    expect(outcome.stderr).toMatch(/^sightline: 4 of 21 images could not be explained: .*text\.jpg/m);
  });
});

describe('the path of a model that is not there', () => {
  it.each(['checkpoints/best.pth', 'models/x.onnx', 'weights/last.ckpt'])(
    '%s is no repository of the hub',
    async (file) => {
      const { code, stdout } = await sightline('explain', PICTURE, '--model', file, '--json');
      expect(code).toBe(2);
      expect(JSON.parse(stdout)).toEqual({
        error: { code: 'FILE_NOT_FOUND', message: expect.stringMatching(`^There is no file ${file}`) as string },
      });
    },
  );
});
