import { describe, expect, it } from 'vitest';

import type { DenseCard } from '../../../lib/index.js';
import { denseFormOf } from '../../../lib/requests/dense/form.js';

const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `name ${i}`);
const form = (shape: number[], card: { dense?: DenseCard; labels?: string[] } = {}, size = [96, 128]) =>
  denseFormOf({ classes: 0, outputShape: [1, ...shape], height: size[0]!, width: size[1]! }, card);

const masks = (classes: number, height: number, width: number, isClassesLast = false) => ({
  kind: 'masks',
  classes,
  height,
  width,
  isClassesLast,
});

describe('masks, by the proportions of the image', () => {
  it.each([
    ['as large as the image', [21, 96, 128], masks(21, 96, 128)],
    ['an eighth of it', [21, 12, 16], masks(21, 12, 16)],
    ['the classes last', [96, 128, 21], masks(21, 96, 128, true)],
    ['a grid that was rounded up', [4, 7, 9], masks(4, 7, 9)],
    ['one class', [1, 24, 32], masks(1, 24, 32)],
  ])('%s', (_, shape, expected) => {
    expect(form(shape)).toEqual(expected);
  });

  it('both ways fit: only the labels or the card tell', () => {
    const square = [64, 64];
    expect(form([8, 8, 8], {}, square)).toMatchObject({ kind: 'unknown' });
    expect(form([8, 8, 9], {}, square)).toMatchObject({ kind: 'unknown' });
    expect(form([8, 8, 9], { labels: names(9) }, square)).toEqual(masks(9, 8, 8, true));
    expect(form([8, 8, 8], { dense: { kind: 'masks', classes: 'first' } }, square)).toEqual(masks(8, 8, 8));
    expect(form([8, 8, 8], { dense: { kind: 'masks', classes: 'last' } }, square)).toEqual(masks(8, 8, 8, true));
  });

  it('none fits: the card may say it all the same', () => {
    expect(form([5, 10, 40])).toMatchObject({
      kind: 'unknown',
      reason: expect.stringContaining('"classes": "first"') as string,
    });
    expect(form([5, 10, 40], { dense: { kind: 'masks', classes: 'first' } })).toEqual(masks(5, 10, 40));
    expect(form([5, 1, 1])).toMatchObject({ kind: 'unknown' });
  });
});

describe('boxes, by labels or the card', () => {
  const boxes = (count: number, classes: number, isValuesFirst: boolean, more: object = {}) => ({
    kind: 'boxes',
    boxes: count,
    classes,
    isValuesFirst,
    firstClass: 4,
    objectness: null,
    place: null,
    unit: 'pixels',
    ...more,
  });

  it('four values and one for each label', () => {
    expect(form([84, 8400], { labels: names(80) })).toEqual(boxes(8400, 80, true));
    expect(form([8400, 84], { labels: names(80) })).toEqual(boxes(8400, 80, false));
  });

  it('a fifth value is not guessed', () => {
    expect(form([25200, 85], { labels: names(80) })).toMatchObject({ kind: 'unknown' });
    expect(form([25200, 85], { labels: names(80), dense: { kind: 'boxes', objectness: true } })).toEqual(
      boxes(25200, 80, false, { firstClass: 5, objectness: 4 }),
    );
    expect(form([25200, 85], { dense: { kind: 'boxes', values: 'last', objectness: true } })).toMatchObject({
      classes: 80,
    });
    // Without labels either axis may be that of the values.
    expect(form([25200, 85], { dense: { kind: 'boxes', objectness: true } })).toMatchObject({ kind: 'unknown' });
  });

  it('six values may be finished detections', () => {
    expect(form([300, 6], { labels: names(2) })).toMatchObject({
      kind: 'unknown',
      reason: expect.stringContaining('finished detections') as string,
    });
    expect(form([300, 6], { labels: names(2), dense: { kind: 'boxes', objectness: false } })).toMatchObject({
      classes: 2,
    });
  });

  it('scores alone, as DETR returns them', () => {
    expect(form([100, 92], { dense: { kind: 'boxes', values: 'last', place: 'none', objectness: false } })).toEqual(
      boxes(100, 92, false, { firstClass: 0 }),
    );
  });
});

it('is nothing where classes of the image are scored, and unknown of other axes', () => {
  expect(denseFormOf({ classes: 7, outputShape: [1, 7], height: 8, width: 8 }, {})).toBeNull();
  expect(form([1, 2, 3, 4])).toMatchObject({ kind: 'unknown', reason: expect.stringContaining('neither') as string });
});
