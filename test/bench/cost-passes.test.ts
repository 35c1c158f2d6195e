import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { beforeAll, describe, expect, it } from 'vitest';

import { costOf, total } from '../../bench/passes/arithmetic.mjs';
import { passesOf, READS_TARGET, timesOf } from '../../bench/passes/count.mjs';
import { recorder } from '../../bench/passes/record.mjs';
import { countsOf, measuredOf, modelTable, passTable, sectionOf, withoutMeasured } from '../../bench/passes/table.mjs';
import { parseExplainOptions } from '../../lib/requests/explain-options.js';
import { recordExplanations, withLayers } from '../../lib/requests/explain-plan.js';
import { METHOD_NAMES, Model } from '../../lib/index.js';
import type { Inspection } from '../../lib/engine/inspection.js';
import type { BlockDescription, PlanDescription, StepDescription } from '../../lib/engine/plan-description.js';
import { binding } from '../../lib/engine/binding.js';
import type { OperationName } from '../../lib/engine/operations.js';
import { sampleReport, throughputRow } from './sample-report.js';

// lib's, and not those of the built package that its type names.
const record = recorder({ parseExplainOptions, recordExplanations, withLayers } as unknown as Parameters<
  typeof recorder
>[0]);
const PAGE = readFileSync(new URL('../../docs/cost.md', import.meta.url), 'utf8');
const known = (name: string): { name: string; inspection: Inspection } => ({
  name,
  inspection: JSON.parse(
    readFileSync(fileURLToPath(new URL(`../../bench/passes/${name}.json`, import.meta.url)), 'utf8'),
  ) as Inspection,
});
const resnet50 = known('resnet50');
const vit = known('vit_b_16');
let resnetTiny: typeof resnet50;
let vitTiny: typeof vit;

beforeAll(async () => {
  const inspect = async (name: string): Promise<typeof resnet50> => {
    await using model = await Model.load(name, { device: 'cpu' });
    const { methods: _, ...inspection } = await model.inspect();
    return { name, inspection };
  };
  [resnetTiny, vitTiny] = [await inspect('resnet-tiny-shapes'), await inspect('vit-tiny-shapes')];
});

function step(
  op: OperationName,
  inputs: number[],
  outputs: number[],
  more: Partial<StepDescription> = {},
): StepDescription {
  return { op, inputs, outputs, settings: {}, where: '', ...more };
}

function plan(steps: StepDescription[], registers: number): PlanDescription {
  return {
    method: 'test',
    block: { steps, registers, parameters: [], results: [] },
    outputs: [],
    output: '',
    logits: -1,
    memory: 1,
  };
}

const tap = (kind: 'logits' | 'node' | 'image', node?: string) => ({
  kind,
  gradient: false,
  ...(node !== undefined && { node }),
});

describe('counting a plan', () => {
  it('knows the steps that read the target as the engine does', () => {
    const readers = Object.entries(binding().operations()).filter(([, { kind }]) => kind === 'target');
    expect(new Set(readers.map(([name]) => name))).toEqual(READS_TARGET);
  });

  it('takes a run as shared until something before it reads the target', () => {
    const passes = passesOf(
      plan(
        [
          step('image', [], [0]),
          step('forward', [0], [1, 2], { taps: [tap('logits'), tap('image')] }),
          step('score', [1], [3]),
          step('gradient', [3, 2], [4]),
          step('mul', [0, 4], [5]),
          step('forward', [5], [6], { taps: [tap('logits')] }),
        ],
        7,
      ),
    );
    expect(passes.map(({ op, perTarget }) => [op, perTarget])).toEqual([
      ['forward', false],
      ['gradient', true],
      ['forward', true],
    ]);
  });

  it('multiplies by loops, inside which only what depends on the target runs for each', () => {
    const body: BlockDescription = {
      steps: [
        step('forward', [0], [2, 3], { taps: [tap('logits'), tap('image')] }),
        step('score', [2], [4]),
        step('gradient', [4, 3], [5]),
      ],
      registers: 6,
      parameters: [0, 1],
      results: [5],
    };
    const passes = passesOf(
      plan(
        [
          step('image', [], [0]),
          step('accumulate', [0], [1], { body, settings: { count: 7, batched: [1], limited: false } }),
        ],
        2,
      ),
    );
    expect(passes.map((pass) => [pass.op, timesOf(pass, 1), timesOf(pass, 3)])).toEqual([
      ['forward', 7, 7],
      ['gradient', 7, 21],
    ]);
  });

  it('runs a loop body for each target where what it captures is of the target', () => {
    const body = (): BlockDescription => ({
      steps: [step('forward', [0], [2], { taps: [tap('logits')] })],
      registers: 3,
      parameters: [0, 1],
      results: [2],
    });
    const looped = (input: number): StepDescription =>
      step('concatenate', [input], [5], { body: body(), settings: { count: 4, batched: [1], limited: false } });
    const start = [step('image', [], [0]), step('target', [], [1]), step('add', [0, 1], [2])];
    expect(passesOf(plan([...start, looped(2)], 6)).map((pass) => timesOf(pass, 2))).toEqual([8]);
    expect(passesOf(plan([...start, looped(0)], 6)).map((pass) => timesOf(pass, 2))).toEqual([4]);
  });
});

describe('what methods need', () => {
  const counts = (method: string, { inspection }: typeof resnet50): object =>
    countsOf(passesOf(record(method, inspection)!.plan));

  it('is one forward pass where gradients are known in closed form, and a gradient where they are not', () => {
    expect(counts('grad-cam', resnet50)).toEqual({ forward: 1, resume: 0, gradient: 0 });
    expect(counts('grad-cam', vit)).toEqual({ forward: 1, resume: 0, gradient: 1 });
    expect(counts('attention-rollout', vit)).toEqual({ forward: 1, resume: 0, gradient: 0 });
    expect(counts('gae', vit)).toEqual({ forward: 1, resume: 0, gradient: 1 });
  });

  it('is one run per channel, mask or window', () => {
    expect(counts('score-cam', resnet50)).toEqual({ forward: 1 + 2048, resume: 0, gradient: 0 });
    expect(counts('ablation-cam', vit)).toEqual({ forward: 1, resume: 1 + 768, gradient: 0 });
    expect(counts('rise', vit)).toEqual({ forward: 1 + 4000, resume: 0, gradient: 0 });
    expect(counts('occlusion', resnet50)).toEqual({ forward: 1 + 28 ** 2, resume: 0, gradient: 0 });
  });

  it('costs a gradient what lies behind the value that it is taken of, and the image all', () => {
    const [forward, gradient] = passesOf(record('gradient', resnet50.inspection)!.plan).map((pass) =>
      costOf(pass, resnet50.inspection),
    );
    expect(gradient).toEqual(forward);
    expect(forward!.flops).toBe(resnet50.inspection.flops);
    const [, last] = passesOf(record('grad-cam', vit.inspection)!.plan).map((pass) => costOf(pass, vit.inspection));
    const norm = vit.inspection.nodes.find(({ name }) => name === vit.inspection.targetLayer)!;
    expect(last).toEqual({ flops: norm.flopsAfter, bytes: norm.bytesAfter });
  });

  it('costs LeGrad, per block, the last block behind its output and that block alone', () => {
    const passes = passesOf(record('le-grad', vit.inspection)!.plan).filter(({ op }) => op === 'gradient');
    const each = passes.map((pass) => costOf(pass, vit.inspection).flops);
    expect(passes).toHaveLength(12);
    expect(Math.max(...each)).toBe(Math.min(...each));
    expect(each[0]!).toBeLessThan(vit.inspection.flops! / 12);
  });

  it('is known of every method on one of the two models', () => {
    const applied = METHOD_NAMES.filter((name) =>
      [resnet50, vit].some(({ inspection }) => record(name, inspection) !== null),
    );
    expect(applied).toEqual(METHOD_NAMES);
    for (const { inspection } of [resnet50, vit]) {
      for (const name of METHOD_NAMES) {
        const recorded = record(name, inspection);
        if (recorded) {
          expect(total(passesOf(recorded.plan), inspection).flops).toBeGreaterThanOrEqual(inspection.flops!);
        }
      }
    }
  });
});

describe('docs/cost.md', () => {
  it('holds the tables that bench/passes.mjs makes', () => {
    expect(sectionOf(PAGE, 'models').text).toBe(modelTable([resnet50, resnetTiny, vit, vitTiny]));
    expect(withoutMeasured(sectionOf(PAGE, 'resnet50').text)).toBe(
      passTable([resnet50, resnetTiny], METHOD_NAMES, record),
    );
    expect(withoutMeasured(sectionOf(PAGE, 'vit_b_16').text)).toBe(passTable([vit, vitTiny], METHOD_NAMES, record));
  });

  it('takes figures as a bench reported them, and leaves a place where it has none', () => {
    const place = { model: '/models/resnet50.pt' };
    const throughput = [
      throughputRow('forward', 8, [10, 10, 10], [10, 10, 10], place),
      throughputRow('grad-cam', 8, [11, 12, 13], [10, 10, 10], place),
    ];
    const report = sampleReport({ throughput });
    expect([...measuredOf(report, 'resnet50')]).toEqual([
      ['measured × F, cpu f32, batch 8', new Map([['grad-cam', 1.2]])],
    ]);
    expect(measuredOf(report, 'vit_b_16').size).toBe(0);
    const table = passTable([resnet50, resnetTiny], ['grad-cam', 'cam'], record, report);
    const [head, , gradCam, cam] = table.split('\n');
    expect(head).toMatch(/measured × F, cpu f32, batch 8 \|$/);
    expect(gradCam).toMatch(/ 1\.20 \|$/);
    expect(cam).toMatch(/– \|$/);
    expect(withoutMeasured(table)).toBe(passTable([resnet50, resnetTiny], ['grad-cam', 'cam'], record));
  });
});
