import { expect, it } from 'vitest';

import { shortName } from '../../lib/model/short-name.js';

it.each([
  ['models/resnet50.pt', 'resnet50'],
  ['vit.pt2', 'vit'],
  ['/data/best.pth', 'best'],
  ['flowers.safetensors', 'flowers'],
  ['vit-tiny-shapes', 'vit-tiny-shapes'],
  ['timm/vit_tiny.augreg_in1k', 'vit_tiny.augreg_in1k'],
  // Two releases of one repository are two models.
  ['me/two@v1.1', 'two@v1.1'],
  ['me/two@v1.2', 'two@v1.2'],
  ['me/two@refs/pr/1', 'two@refs-pr-1'],
  ['/home/me@work/vit.pt', 'vit'],
])('calls %s %s for short', (given, short) => {
  expect(shortName(given)).toBe(short);
});
