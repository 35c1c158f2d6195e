import { readdirSync, rmSync } from 'node:fs';
import path from 'node:path';

import sharp from 'sharp';
import { expect, it } from 'vitest';

import { node, ROOT, useBuiltCommand } from './command.js';

useBuiltCommand();

it('the demo names and explains real photos, then the pictures of shapes, and says where its pictures are', async () => {
  const out = path.join(ROOT, 'out', 'demo');
  rmSync(out, { recursive: true, force: true });
  const { code, stdout, stderr } = await node(path.join(ROOT, 'dist', 'demo', 'main.js'));
  expect({ code, stderr }).toMatchObject({ code: 0 });
  for (const [file, label] of [
    ['cat', 'tiger cat'],
    ['coffee', 'espresso'],
    ['tripod', 'tripod'],
    ['palace', 'palace'],
  ] as const) {
    expect(stdout).toMatch(
      new RegExp(
        `^${file}\\.jpg: ${label} \\d+\\.\\d %, .*\\n  cam for ${label}: peaks at x \\d+, y \\d+, [a-z ]+, on the ${label}$`,
        'm',
      ),
    );
  }
  expect(stdout).toContain('4 of 4 photos are named right, and 4 of 4 maps peak on what they name.');
  expect(stdout.indexOf('palace.jpg')).toBeLessThan(stdout.indexOf('disc-and-flower.png'));
  for (const name of ['resnet-tiny-shapes', 'vit-tiny-shapes']) {
    expect(stdout.match(new RegExp(`${name} predicts`, 'g'))).toHaveLength(4);
  }
  expect(stdout).toContain('on the wavy star');
  expect(stdout).toContain('npx sightline serve');

  // Four pictures, two classes each by cam, grad-cam and gradient-rollout; plain rollout knows no classes.
  const [, hits, all] = /(\d+) of (\d+) class-specific maps peak on an object of their class/.exec(stdout)!;
  expect(Number(all)).toBe(4 * 2 * 3);
  expect(Number(hits)).toBeGreaterThanOrEqual(20);
  const pictures = readdirSync(out);
  expect(pictures).toHaveLength(4 + 4 * (2 * 3 + 1) + 2);
  expect(stdout).toContain(`32 overlays are in ${path.join('out', 'demo')}`);
  const photos = await sharp(path.join(out, 'photos.png')).metadata();
  // Four columns and two rows of squares of 256 pixels.
  expect(photos.width).toBeGreaterThan(4 * 256);
  expect(photos.height).toBeGreaterThan(2 * 256);
  const { width, height } = await sharp(path.join(out, 'shapes.png')).metadata();
  // Eight columns of 224 pixels, four rows of pictures of 480 x 360.
  expect(width).toBeGreaterThan(8 * 224);
  expect(height).toBeGreaterThan(4 * 168);
});
