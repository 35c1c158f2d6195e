import { execFile } from 'node:child_process';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { skeletonOf } from '../../lib/models/catalog.js';
import { DEMO, MAIN, ROOT, useBuiltCommand, type Outcome } from '../cli/command.js';
import { safetensorsOf, seeded } from '../support/checkpoints.js';
import { ROUNDOFF } from '../support/rounding.js';
import { environmentOf, useHub } from './fixtures.js';

useBuiltCommand();

const CONFIG = {
  architecture: 'test_vit',
  num_classes: 3,
  label_names: ['rose', 'tulip', 'daisy'],
  pretrained_cfg: {
    input_size: [3, 160, 160],
    num_classes: 3,
    mean: [0.5, 0.5, 0.5],
    std: [0.5, 0.5, 0.5],
    interpolation: 'bicubic',
    crop_pct: 0.95,
    crop_mode: 'center',
  },
};

describe('from nothing to an explained picture', () => {
  it("pulls a user's own fine-tuned model by its repository, and explains by its labels", async () => {
    const { hub, home } = await useHub();
    const run = (...args: string[]): Promise<Outcome> =>
      new Promise((resolve) => {
        execFile(
          process.execPath,
          [MAIN, ...args],
          { cwd: ROOT, env: { ...process.env, ...environmentOf(hub, home) } },
          (error, stdout, stderr) => resolve({ code: Number(error?.code ?? 0), stdout, stderr }),
        );
      });
    const { card } = await skeletonOf('test_vit');
    hub.add('me/flowers', {
      'config.json': JSON.stringify(CONFIG),
      'model.safetensors': { lfs: safetensorsOf(seeded(card, 3, 101)) },
    });

    const picture = join(DEMO, 'disc-and-flower.png');
    const explain = [
      'explain',
      picture,
      '--model',
      'me/flowers',
      '--method',
      'attention-rollout',
      '--device',
      'cpu',
      '--json',
      '--out',
      join(home, 'maps'),
    ];
    const before = await run(...explain);
    expect([before.code, before.stderr]).toEqual([
      2,
      expect.stringContaining('me/flowers is not on this machine; run `sightline pull me/flowers`.'),
    ]);

    const pulled = await run('pull', 'me/flowers');
    expect(pulled).toMatchObject({ code: 0 });

    const { code, stdout, stderr } = await run(...explain);
    expect([code, stderr]).toEqual([0, expect.any(String)]);
    const [result] = (
      JSON.parse(stdout) as {
        results: { predictions: { label: string; score: number }[]; maps: { shape: number[]; overlay: string }[] }[];
      }
    ).results;
    expect(result!.predictions.map(({ label }) => label).sort()).toEqual(['daisy', 'rose', 'tulip']);
    // Three exponentials, their sum and a quotient.
    const total = result!.predictions.reduce((sum, { score }) => sum + score, 0);
    expect(Math.abs(total - 1)).toBeLessThanOrEqual(8 * ROUNDOFF);
    expect(result!.maps[0]!.shape).toEqual([160, 160]);
    // Once here, nobody is asked.
    const asked = hub.requests.length;
    expect((await run('inspect', 'me/flowers', '--device', 'cpu', '--json')).code).toBe(0);
    expect(hub.requests.length).toBe(asked);
  });
});
