import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { describe, expect, it } from 'vitest';

import * as api from '../../lib/index.js';
import { COLORMAPS } from '../../lib/pictures/colormaps.js';
import { METHODS } from '../../lib/methods/index.js';
import attention from '../../lib/requests/documentation/attention.js';
import cam from '../../lib/requests/documentation/cam.js';
import gradients from '../../lib/requests/documentation/gradients.js';
import metrics from '../../lib/requests/documentation/metrics.js';
import shared from '../../lib/requests/documentation/shared.js';
import { parseExplainOptions } from '../../lib/requests/explain-options.js';
import { readDocumentation } from '../../scripts/document-options.mjs';

const { defineMethod, describeMethod, describeMethods, ERROR_CODES, METHOD_NAMES, symbolic, z } = api;
const described = describeMethods();

it('has every method once, in order, as plain JSON', () => {
  expect(described.map(({ name }) => name)).toEqual(METHOD_NAMES);
  expect(JSON.parse(JSON.stringify(described))).toEqual(described);
});

it('says what the doc comments say: after a change, run `npm run document`', () => {
  expect({ families: { cam, attention, gradients, metrics }, shared }).toEqual(readDocumentation());
});

describe.each(described.map((method) => [method.name, method] as const))('%s', (name, method) => {
  const own = METHODS[name as keyof typeof METHODS];

  it('has a sentence, its paper and a page', () => {
    expect(method.summary).toMatch(/^[A-Z].*\.$/s);
    expect(method.description.startsWith(method.summary)).toBe(true);
    expect(existsSync(fileURLToPath(new URL(`../../${method.page}`, import.meta.url)))).toBe(true);
    expect(method).toMatchObject({ usesLayer: own.usesLayer, isClassSpecific: own.isClassSpecific });
  });

  it('has for each option a description, and a type', () => {
    for (const [option, schema] of [
      ...Object.entries(method.options.properties),
      ...Object.entries(method.commonOptions.properties),
    ]) {
      expect(schema.description, option).toMatch(/^\S.*\.$/s);
      if (option !== 'score') {
        expect(
          ['type', 'enum', 'anyOf', 'oneOf'].some((keyword) => keyword in schema),
          `${option}: ${JSON.stringify(schema)}`,
        ).toBe(true);
      }
    }
  });

  it('has the defaults that take effect, and each in the schema', () => {
    const { settings } = parseExplainOptions({ method: name });
    expect(method.defaults).toEqual(settings);
    for (const [option, value] of Object.entries(method.defaults)) {
      expect(method.options.properties[option]!.default).toEqual(value);
    }
  });

  it('takes what its description offers: each word, each end of a range, each preset and package', () => {
    for (const [option, schema] of Object.entries(method.options.properties)) {
      const { enum: words = [], minimum, maximum } = schema as { enum?: unknown[]; minimum?: number; maximum?: number };
      const ends = [minimum, maximum].filter((end) => end !== undefined && Math.abs(end) < Number.MAX_SAFE_INTEGER);
      for (const value of [...words, ...ends]) {
        expect(
          () => parseExplainOptions({ method: name, [option]: value }),
          `${option}: ${String(value)}`,
        ).not.toThrow();
      }
    }
    for (const [preset, settings] of Object.entries(method.presets)) {
      expect(parseExplainOptions({ method: name, preset }).settings).toMatchObject(settings);
    }
    for (const [compat, settings] of Object.entries(method.packages)) {
      expect(parseExplainOptions({ method: name, compat }).settings).toMatchObject(settings);
    }
  });
});

it('spells every name as the US do', () => {
  const options = described
    .flatMap(({ options: own, commonOptions }) => [own, commonOptions])
    .flatMap(({ properties }) =>
      Object.entries(properties).flatMap(([name, { enum: words }]) => [
        name,
        ...((words as string[] | undefined) ?? []),
      ]),
    );
  const names = [
    ...Object.keys(api),
    ...Object.keys(symbolic),
    ...Object.keys(symbolic.SymbolicModel.prototype),
    ...options,
    ...COLORMAPS,
    ...METHOD_NAMES,
    ...Object.keys(ERROR_CODES),
  ];
  expect(names.length).toBeGreaterThan(300);
  expect(
    names.filter(
      (name) =>
        /colour|[a-z](?<!l)is(e|ed|ing|ation)$|centre|grey|neighbour|behaviour|catalogue|licence|favour/i.test(name) &&
        !['noise', 'precise', 'raise', 'otherwise', 'rise'].includes(name),
    ),
  ).toEqual([]);
});

it('tells types, ranges and words', () => {
  const { options, commonOptions } = describeMethod('smooth-grad');
  expect(options.properties['samples']).toMatchObject({
    type: 'integer',
    minimum: 1,
    maximum: 100_000,
    default: 50,
    description: 'Noisy copies of each image.',
  });
  expect(options.properties['average']).toMatchObject({
    enum: ['gradient', 'absolute', 'square'],
    default: 'gradient',
  });
  expect(options.additionalProperties).toBe(false);
  expect(commonOptions.properties['size']).toMatchObject({ enum: ['grid', 'image'] });
  expect(Object.keys(commonOptions.properties)).not.toContain('signal');
  expect(Object.keys(commonOptions.properties)).not.toContain('layer');
  expect(Object.keys(describeMethod('grad-cam').commonOptions.properties)).toContain('layer');
  expect(Object.keys(describeMethod('attention-rollout').commonOptions.properties)).not.toContain('score');
  expect(describeMethod('attention-rollout').presets['vit-explain']).toBeDefined();
});

it('describes a method of the user’s own', () => {
  const mine = defineMethod({
    name: 'grad-cam',
    options: z.strictObject({ strength: z.number().min(0).max(2).default(1).describe('Without a unit.') }),
    usesLayer: false,
    isClassSpecific: false,
    reasonAgainst: () => null,
    map: ({ model }) => symbolic.mean(model.image, 'channels'),
  });
  expect(describeMethod(mine)).toMatchObject({
    name: 'grad-cam',
    family: 'custom',
    summary: '',
    page: null,
    options: {
      properties: { strength: { type: 'number', minimum: 0, maximum: 2, default: 1, description: 'Without a unit.' } },
    },
    defaults: { strength: 1 },
  });
});

it('refuses what is no method', () => {
  expect(() => describeMethod('gard-cam' as never)).toThrow(
    expect.objectContaining({ code: 'INVALID_OPTION', message: expect.stringMatching(/grad-cam/) as string }),
  );
});
