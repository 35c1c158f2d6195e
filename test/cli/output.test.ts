import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';

import { beforeAll, describe, expect, it } from 'vitest';

import { encodeNpy } from '../../lib/index.js';
import { findPython } from '../support/python.js';
import { answerOf, fileFolder, sightline, useBuiltCommand } from './command.js';

useBuiltCommand();

const python = findPython();
const folder = fileFolder();
const archive = path.join(folder, 'heads.pt');
const image = path.join(folder, 'image.npy');

/** Two outputs by name, of two and of five classes. */
const SCRIPT = `
import sys, torch
from torch import nn

class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.c, self.fc = nn.Conv2d(3, 4, 3, 2, 1), nn.Linear(4, 5)

    def forward(self, x):
        y = self.fc(torch.relu(self.c(x)).mean((2, 3)))
        return {'breed': y[:, :2], 'colour': y * 3}

torch.manual_seed(0)
torch.jit.trace(Heads().eval(), torch.randn(1, 3, 32, 32), strict=False).save(sys.argv[1])
`;

describe.skipIf(python === null)('--output', () => {
  beforeAll(async () => {
    await promisify(execFile)(python!, ['-W', 'ignore', '-c', SCRIPT, archive]);
    writeFileSync(image, encodeNpy({ data: new Float32Array(3 * 32 * 32).fill(0.5), shape: [1, 3, 32, 32] }));
  });

  const explain = (...rest: string[]): string[] => [
    'explain',
    image,
    '--model',
    archive,
    '--method',
    'grad-cam',
    ...rest,
  ];

  it('chooses what is explained, by name', async () => {
    const classes = async (...rest: string[]): Promise<number[]> => {
      const { results } = await answerOf<{ results: { predictions: { index: number }[] }[] }>(...explain(...rest));
      return results[0]!.predictions.map(({ index }) => index).sort((a, b) => a - b);
    };
    expect(await classes()).toEqual([0, 1]);
    expect(await classes('--output', 'colour')).toEqual([0, 1, 2, 3, 4]);
  });

  it('names the outputs that there are', async () => {
    const { code, stderr } = await sightline(...explain('--output', 'color'));
    expect(code).toBe(2);
    expect(stderr).toContain("no output 'color'; it returns breed (N x 2), colour (N x 5)");
  });
});
