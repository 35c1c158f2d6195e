import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import sharp from 'sharp';
import { describe, expect, it } from 'vitest';

import type { Comparison } from '../../lib/bench/compare.js';
import { FORWARD, type BenchReport } from '../../lib/bench/report.js';
import { answerOf, archiveIn, DEMO, fileFolder, sightline, temporaryFolder, useBuiltCommand } from './command.js';

useBuiltCommand();

const QUICK = ['--device', 'cpu', '--rounds', '3', '--warmup', '1'];
const folder = fileFolder();
const resnet = archiveIn(folder, 'torchvision-resnet-traced', 48, 32);
const vit = archiveIn(folder, 'timm-vit-fused-traced', 40, 24);

// Several processes that each load LibTorch, beside whatever else the machine does.
describe('a run', () => {
  it('measures throughput by batch, writes a report and plots, and compares itself with an earlier one', async () => {
    const out = path.join(temporaryFolder(), 'made');
    const answer = await answerOf<BenchReport>(
      'bench',
      '--model',
      'resnet-tiny-shapes',
      '--method',
      'grad-cam',
      '--method',
      'cam:targets=top2',
      '--capture',
      '50%',
      '--batch',
      '1,2',
      '--threads',
      '1',
      ...QUICK,
      '--out',
      out,
    );
    expect(answer.format).toBe('sightline-bench/1');
    expect(JSON.parse(readFileSync(path.join(out, 'bench.json'), 'utf8'))).toEqual(answer);
    expect(answer.configurations).toMatchObject([
      { model: 'resnet-tiny-shapes', device: 'cpu', dtype: 'f32', height: 224, width: 224, threads: 1 },
    ]);
    expect(answer.machine.cores).toBe(os.availableParallelism());
    expect(answer.versions).toMatchObject({
      node: process.version,
      libtorch: expect.stringMatching(/^2\.1\d\./) as string,
    });
    expect(answer.throughput.map(({ job, batch }) => [job, batch])).toEqual(
      [1, 2].flatMap((batch) => [FORWARD, 'capture 50%', 'grad-cam', 'cam:targets=top2'].map((job) => [job, batch])),
    );
    for (const { job, batch, milliseconds, imagesPerSecond, ratio, memory, operators } of answer.throughput) {
      expect(milliseconds.all).toHaveLength(3);
      const sorted = milliseconds.all.toSorted((a, b) => a - b);
      expect([milliseconds.min, milliseconds.median]).toEqual([sorted[0], sorted[1]]);
      expect(imagesPerSecond.median).toBeCloseTo((1000 * batch) / milliseconds.median, 6);
      const forward = answer.throughput.find((row) => row.job === FORWARD && row.batch === batch)!;
      const ratios = milliseconds.all
        .map((time, round) => time / forward.milliseconds.all[round]!)
        .toSorted((a, b) => a - b);
      expect(ratio).toMatchObject({ median: ratios[1], samples: 3 });
      // Whatever runs needs the model's weights and LibTorch at least.
      if (memory.peakResidentBytes !== null) expect(memory.peakResidentBytes).toBeGreaterThan(50 * 2 ** 20);
      expect(memory.peakDeviceBytes).toBeNull();
      expect(operators === null).toBe(!job.startsWith('capture') && job !== FORWARD);
    }
    const operatorsOf = (name: string): number => answer.throughput.find(({ job }) => job === name)!.operators!;
    expect(operatorsOf('capture 50%')).toBeLessThan(operatorsOf(FORWARD));

    expect(readdirSync(out).sort()).toEqual(['bench.json', 'cost.svg', 'throughput.svg']);
    for (const name of ['cost.svg', 'throughput.svg']) {
      expect((await sharp(path.join(out, name)).metadata()).format).toBe('svg');
    }

    // The same figures a thousand times as fast.
    const fast = structuredClone(answer);
    for (const row of fast.throughput) {
      row.imagesPerSecond = {
        median: row.imagesPerSecond.median * 1000,
        low: row.imagesPerSecond.low * 1000,
        high: row.imagesPerSecond.high * 1000,
        samples: 3,
      };
    }
    const faster = path.join(out, 'faster.json');
    writeFileSync(faster, JSON.stringify(fast));
    const { comparison } = await answerOf<{ comparison: Comparison }>(
      'bench',
      '--from',
      faster,
      '--compare',
      path.join(out, 'bench.json'),
    );
    expect(comparison.rows.map(({ imagesPerSecond, ratio }) => [imagesPerSecond.verdict, ratio.verdict])).toEqual(
      Array(8).fill(['better', 'noise']),
    );
    expect(comparison.differences).toEqual([]);
    const { stdout, code } = await sightline('bench', '--from', faster, '--compare', path.join(out, 'bench.json'));
    expect(code).toBe(0);
    expect(stdout).toContain('compared with the run of');
    expect(stdout).toMatch(/batch 2 +cam:targets=top2 .* noise +.* better/);
  });

  it('measures latency by concurrency, in more requests at once than the queue takes by default', async () => {
    const { latency, throughput } = await answerOf<BenchReport>(
      'bench',
      '--model',
      vit,
      '--method',
      'attention-rollout',
      '--concurrency',
      '1,1100',
      '--requests',
      '32',
      '--max-batch',
      '64',
      ...QUICK,
      '--rounds',
      '1',
    );
    expect(throughput).toEqual([]);
    expect(latency.map(({ job, concurrency, requests }) => [job, concurrency, requests])).toEqual([
      [FORWARD, 1, 32],
      ['attention-rollout', 1, 32],
      [FORWARD, 1100, 1100],
      ['attention-rollout', 1100, 1100],
    ]);
    for (const { milliseconds, meanBatch, concurrency, source, shareOfTensors, maxBatch } of latency) {
      const { min, p50, p95, p99, max } = milliseconds;
      expect([min, p50, p95, p99, max]).toEqual([min, p50, p95, p99, max].toSorted((a, b) => a - b));
      if (concurrency === 1) expect(meanBatch).toBe(1);
      else expect(meanBatch).toBeGreaterThan(8);
      expect(meanBatch).toBeLessThanOrEqual(64);
      expect({ source, shareOfTensors, maxBatch }).toEqual({ source: 'tensors', shareOfTensors: null, maxBatch: 64 });
    }
  });

  it('measures from file to file beside ready tensors, and leaves no file', async () => {
    const temporary = temporaryFolder();
    const pictures = temporaryFolder();
    for (const name of ['a.png', 'b.png']) {
      await sharp(path.join(DEMO, 'disc-and-flower.png')).resize(60, 40).toFile(path.join(pictures, name));
    }
    writeFileSync(path.join(pictures, 'notes.txt'), 'no picture');
    const { TMPDIR } = process.env;
    process.env['TMPDIR'] = temporary;
    const { latency, options } = await answerOf<BenchReport>(
      'bench',
      '--model',
      vit,
      '--method',
      'gae',
      '--concurrency',
      '3',
      '--requests',
      '6',
      '--images',
      pictures,
      ...QUICK,
    ).finally(() => {
      if (TMPDIR === undefined) delete process.env['TMPDIR'];
      else process.env['TMPDIR'] = TMPDIR;
    });
    expect(options.images).toBe(2);
    expect(latency.map(({ job, source }) => [job, source])).toEqual([
      [FORWARD, 'tensors'],
      ['gae', 'tensors'],
      ['gae', 'files'],
    ]);
    const [, tensors, files] = latency;
    expect(files!.shareOfTensors!.samples).toBe(3);
    expect(files!.shareOfTensors!.median).toBeGreaterThan(0);
    expect(tensors!.shareOfTensors).toBeNull();
    expect(readdirSync(temporary)).toEqual([]);
  });

  it('sweeps models, dtypes and sizes, and says what does not apply', async () => {
    const { code, stdout, stderr } = await sightline(
      'bench',
      '--model',
      resnet,
      '--model',
      vit,
      '--method',
      'cam,attention-rollout',
      '--batch',
      '2',
      '--dtype',
      'f32,bf16',
      '--size',
      '64',
      ...QUICK,
    );
    expect({ code, stderr }).toMatchObject({ code: 0 });
    for (const heading of ['torchvision-resnet-traced on cpu', 'timm-vit-fused-traced on cpu']) {
      for (const dtype of ['f32', 'bf16']) expect(stdout).toMatch(new RegExp(`${heading}, \\d+ threads?, ${dtype}`));
    }
    expect(stdout).toMatch(/torchvision-resnet-traced on cpu.* 64 x 64;/);
    expect(stdout).toMatch(/timm-vit-fused-traced on cpu.* 40 x 24;/);
    expect(stderr).toContain(
      'timm-vit-fused-traced does not take images of 64 x 64; it is measured at its own 40 x 24.',
    );
    expect(
      stdout.match(/attention-rollout does not apply to torchvision-resnet-traced: it has no attention\./g),
    ).toHaveLength(1);
    expect(stdout).toMatch(/2 +attention-rollout +[\d.]+ +[\d.]+/);
  });
});

describe('what is refused, in one sentence, before anything is measured', () => {
  const model = ['--model', 'resnet-tiny-shapes'];
  it.each<[string, string[], RegExp]>([
    ['nothing to measure', [], /name a model with --model/],
    ['an unknown model', ['--model', 'resnet-tiny-shape'], /Did you mean "resnet-tiny-shapes"\?/],
    ['an unknown method', [...model, '--method', 'gradcam'], /no method "gradcam"/],
    ["a method's unknown option", [...model, '--method', 'grad-cam:foo=1'], /no option "foo"/],
    [
      'a method that does not apply',
      [...model, '--method', 'gae', '--device', 'cpu'],
      /gae does not apply to resnet-tiny-shapes: it has no attention\./,
    ],
    [
      'a node that is not there',
      [...model, '--capture', 'layr4', '--device', 'cpu', '--batch', '1'],
      /Did you mean "layer4"\?/,
    ],
    ['a batch of none', [...model, '--batch', '1,0'], /--batch.*whole number of at least 1/],
    [
      'a concurrency that is no number',
      [...model, '--concurrency', '4,x'],
      /--concurrency.*whole number of at least 1/,
    ],
    ['an unknown dtype', [...model, '--dtype', 'f32,f64'], /Give f32, bf16 or f16/],
    ['an unknown device', [...model, '--device', 'cpu,gpu'], /Give cpu, cuda, cuda:N or auto/],
    ['a negative delay', [...model, '--max-delay', '-1'], /at least 0/],
    ['files without callers', [...model, '--images', DEMO], /say how many with --concurrency/],
    ['files at a size', [...model, '--images', DEMO, '--concurrency', '1', '--size', '64'], /leave one out/],
    ['a folder without pictures', [...model, '--images', 'lib', '--concurrency', '1'], /lib holds no picture/],
    [
      'a folder of pictures that is not there',
      [...model, '--images', 'none', '--concurrency', '1'],
      /There is no folder none/,
    ],
    ['an earlier report that is not there', [...model, '--compare', 'none.json'], /There is no file none\.json/],
    [
      'an earlier report that is none',
      [...model, '--compare', 'package.json'],
      /package\.json is no report of sightline bench/,
    ],
    ['a file as the folder for reports', [...model, '--out', 'package.json'], /--out package\.json is a file/],
    ['measuring and showing at once', ['--from', 'bench.json', '--rounds', '2'], /--from measures nothing/],
  ])('%s', async (_, args, sentence) => {
    const { code, stdout, stderr } = await sightline('bench', ...args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(/^sightline: [^\n]+\n$/);
    expect(stderr).toMatch(sentence);
  });
});
