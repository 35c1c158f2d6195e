import { describe, expect, it } from 'vitest';

import type { Model } from '../../lib/index.js';
import { photo } from '../service/support.js';
import { CHROMIUM, CNN, settled, usePage } from './support.js';

const FIRST = '.panel:nth-of-type(1)';
const cat = photo('cat.jpg');

/** By its definition: Pearson's correlation of the ranks, equal values sharing the mean of theirs. */
function spearman(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const ranks = (values: readonly number[]): number[] =>
    values.map((value) => {
      const below = values.filter((other) => other < value).length;
      return below + (values.filter((other) => other === value).length - 1) / 2;
    });
  const centered = (values: readonly number[]): number[] => {
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    return values.map((value) => value - mean);
  };
  const product = (p: readonly number[], q: readonly number[]): number => p.reduce((sum, v, i) => sum + v * q[i]!, 0);
  const [x, y] = [centered(ranks(Array.from(a))), centered(ranks(Array.from(b)))];
  return product(x, y) / Math.sqrt(product(x, x) * product(y, y));
}

const numberIn = (text: string): number => Number(/rank correlation ([−\d.]+\d)/.exec(text)![1]!.replace('−', '-'));

describe.skipIf(CHROMIUM === undefined)('how sure a map is', () => {
  const { models, open } = usePage();

  const dataOf = async (model: Model, method: 'cam' | 'random-cam', target: number, options: object = {}) => {
    const [answer] = await model.explain([cat], { method, size: 'grid', raw: true, targets: [target], ...options });
    return answer!.maps[0]!.data;
  };

  it('is told by other seeds where the method takes one', async () => {
    const { page, complaints } = await open();
    await page.locator(FIRST).getByLabel('Method').selectOption('random-cam');
    await settled(page);
    await page.locator(FIRST).getByText('How sure is this map?').click();
    await page.locator(`${FIRST} .sureness .pair figure`).nth(1).waitFor();
    const cnn = models()[CNN]!;
    const [predicted] = await cnn.predict([cat]);
    const { index } = predicted!.predictions[0]!;
    const own = await dataOf(cnn, 'random-cam', index);
    const expected: string[] = [];
    for (const seed of [1, 2, 3, 4]) {
      expected.push(spearman(own, await dataOf(cnn, 'random-cam', index, { seed })).toFixed(2));
    }
    expect(await page.locator(`${FIRST} .tiles figcaption`).allTextContents()).toEqual(expected);
    expect(await page.locator(`${FIRST} .sureness .says`).first().textContent()).toContain('From 4 other seeds');
    expect(complaints).toEqual([]);
  });

  it('is told by copies with noise where not, and by a model of shuffled weights', async () => {
    const { page, complaints } = await open();
    const asked: string[] = [];
    page.on('request', (request) => {
      // The browser asks for the icon whenever it likes.
      if (request.method() === 'POST') asked.push(request.url());
    });
    await settled(page);
    // Nothing before somebody wants to know.
    expect(asked).toEqual([]);
    await page.locator(FIRST).getByText('How sure is this map?').click();
    await page.locator(`${FIRST} .sureness .pair figure`).nth(1).waitFor();
    expect(asked).toHaveLength(5);
    const cnn = models()[CNN]!;
    const [predicted] = await cnn.predict([cat]);
    const { index } = predicted!.predictions[0]!;
    await using copy = await cnn.shuffled();
    const blank = spearman(await dataOf(cnn, 'cam', index), await dataOf(copy, 'cam', index));
    const says = await page.locator(`${FIRST} .sureness .says`).allTextContents();
    expect(says[0]).toContain('From 4 copies of the picture with noise');
    expect(numberIn(says[1]!)).toBe(Number(blank.toFixed(2)));
    // Noise changes the map, each time in another way, and by far not as much as forgetting does.
    const repeats = (await page.locator(`${FIRST} .tiles figcaption`).allTextContents()).map(Number);
    expect(repeats).toHaveLength(4);
    expect(new Set(repeats.filter((each) => each < 1)).size).toBeGreaterThan(1);
    expect(Math.min(...repeats)).toBeGreaterThan(blank);
    expect(complaints).toEqual([]);
  });
});
