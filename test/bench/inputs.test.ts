import { describe, expect, it } from 'vitest';

import { parseMethodRequest } from '../../lib/bench/method-request.js';
import { randomImages } from '../../lib/bench/random.js';

describe('randomImages', () => {
  it('gives standard normal values of the asked-for shape', () => {
    const { data, shape } = randomImages(2, 30, 50, 7);
    expect(shape).toEqual([2, 3, 30, 50]);
    expect(data).toHaveLength(9000);
    const mean = data.reduce((sum, value) => sum + value, 0) / data.length;
    const variance = data.reduce((sum, value) => sum + (value - mean) ** 2, 0) / data.length;
    // Four standard errors: 1 / sqrt(9000) and sqrt(2 / 9000).
    expect(Math.abs(mean)).toBeLessThan(0.042);
    expect(Math.abs(variance - 1)).toBeLessThan(0.06);
    expect(data.every(Number.isFinite)).toBe(true);
  });

  it('repeats with its seed, also where the number of values is odd', () => {
    expect(randomImages(1, 3, 3, 1).data).toEqual(randomImages(1, 3, 3, 1).data);
    expect(randomImages(1, 3, 3, 1).data).not.toEqual(randomImages(1, 3, 3, 2).data);
    expect(randomImages(1, 3, 3, 1).data.at(-1)).not.toBe(0);
  });
});

describe('parseMethodRequest', () => {
  it('reads options as explain takes them', () => {
    expect(parseMethodRequest('grad-cam')).toEqual({ label: 'grad-cam', options: { method: 'grad-cam' } });
    expect(parseMethodRequest('gae:targets=top10').options).toEqual({ method: 'gae', targets: ['top10'] });
    expect(parseMethodRequest('grad-cam:layer=relu:1,targets=[1,2],raw=true').options).toEqual({
      method: 'grad-cam',
      layer: 'relu:1',
      targets: [1, 2],
      raw: true,
    });
    expect(parseMethodRequest('grad-cam:layer=["layer3","layer4"],fusion=max').options).toEqual({
      method: 'grad-cam',
      layer: ['layer3', 'layer4'],
      fusion: 'max',
    });
    expect(parseMethodRequest('integrated-gradients:steps=50').options).toEqual({
      method: 'integrated-gradients',
      steps: 50,
    });
  });

  it.each([
    ['gradcam', /no method "gradcam"/],
    ['grad-cam:', /no key=value/],
    ['grad-cam:layer', /no key=value/],
    ['grad-cam:layer=', /no key=value/],
    ['grad-cam:lair=layer3', /no option "lair"/],
    ['grad-cam:method=cam', /cannot set method/],
  ])('refuses %s', (text, sentence) => {
    expect(() => parseMethodRequest(text)).toThrow(sentence);
  });
});
