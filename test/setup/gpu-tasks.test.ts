/** `npm run test:gpu`, `bench:gpu` and `pack:gpu`, as far as they can be tried without a GPU. */
import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { judge } from '../../bench/gpu/limits.mjs';
import { isCarried, packagesFor } from '../../scripts/gpu/pack.mjs';
import { readVitestReport, tableOf } from '../../scripts/gpu/test.mjs';
import { ROOT, temporaryFolder } from './fixtures.js';

describe('the table of test:gpu', () => {
  const report = (content: object): string => {
    const file = path.join(temporaryFolder(), 'report.json');
    writeFileSync(file, JSON.stringify(content));
    return file;
  };
  const test = (status: string, message = ''): object => ({
    status,
    fullName: `suite is ${status}`,
    failureMessages: [message],
  });

  it.each([
    [
      'all passed',
      { numPassedTests: 2, numFailedTests: 0, numPendingTests: 0, testResults: [] },
      '',
      { result: 'PASS', tests: '2 of 2', reason: '' },
    ],
    [
      'one failed',
      {
        numPassedTests: 1,
        numFailedTests: 1,
        numPendingTests: 1,
        testResults: [
          { status: 'failed', name: 'a', assertionResults: [test('passed'), test('failed', 'expected 1\n at x')] },
        ],
      },
      'exit code 1',
      { result: 'FAIL', tests: '1 of 2, 1 skipped', reason: 'suite is failed: expected 1' },
    ],
    [
      'a file that broke',
      {
        numPassedTests: 3,
        numFailedTests: 0,
        numPendingTests: 0,
        testResults: [{ status: 'failed', name: '/x/a.test.ts', message: 'no addon\n', assertionResults: [] }],
      },
      'exit code 1',
      { result: 'FAIL', tests: '3 of 3', reason: 'a.test.ts: no addon' },
    ],
    [
      'none ran',
      { numPassedTests: 0, numFailedTests: 0, numPendingTests: 4, testResults: [] },
      '',
      { result: 'FAIL', tests: '0 of 0, 4 skipped', reason: 'no test ran' },
    ],
    [
      'a crash after the report',
      { numPassedTests: 2, numFailedTests: 0, numPendingTests: 0, testResults: [] },
      'SIGSEGV',
      { result: 'FAIL', tests: '2 of 2', reason: 'vitest ended with SIGSEGV' },
    ],
  ])('%s', (_, content, ended, expected) => {
    expect(readVitestReport(report(content), ended)).toEqual(expected);
  });

  it('a run without a report failed', () => {
    expect(readVitestReport('/nowhere/report.json', 'SIGSEGV')).toMatchObject({ result: 'FAIL', reason: /SIGSEGV/ });
  });

  it('has a line for each part, and no time for what had no GPU', () => {
    const table = tableOf([
      { name: 'parity', result: 'PASS', tests: '2 of 2', seconds: 3.4, reason: '' },
      { name: 'graphs', result: 'no GPU', tests: '', seconds: 0, reason: 'LibTorch finds none' },
    ]);
    expect(table.split('\n')).toEqual([
      'part    result  tests   time  reason',
      'parity  PASS    2 of 2  3 s',
      'graphs  no GPU                LibTorch finds none',
    ]);
  });
});

describe('the archive of pack:gpu', () => {
  it('takes every package that the tests and the build need, and no linter', () => {
    const packages = packagesFor(['cmake-js', 'node-addon-api', 'vitest', 'zod']);
    for (const name of ['cmake-js', 'node-api-headers', 'node-addon-api', 'vitest', 'vite', 'zod']) {
      expect(packages).toContain(`node_modules/${name}`);
    }
    expect(packages).not.toContain('node_modules/eslint');
    expect(packages.every((folder) => existsSync(path.join(ROOT, folder)))).toBe(true);
  });

  it.each([
    ['lib/index.ts', true],
    ['models/eval/002.png', true],
    ['models/eval/007.png', false],
    ['models/demo/photos/cat.jpg', false],
    ['bench/results/peers-2-cores/peers.txt', false],
    ['dist/index.js.map', false],
    ['node_modules/dejavu-fonts-ttf/ttf/DejaVuSans-Bold.ttf', true],
    ['node_modules/dejavu-fonts-ttf/ttf/DejaVuSerif.ttf', false],
    ['node_modules/zod/v4/core/core.js', true],
    ['node_modules/zod/src/v4/core/core.ts', false],
    ['node_modules/zod/v4/core/core.d.cts', false],
    ['node_modules/zod/LICENSE', true],
    ['lib/engine/native-types.d.ts', true],
  ])('%s: %s', (file, expected) => {
    expect(isCarried(file)).toBe(expected);
  });
});

describe('the verdicts of bench:gpu', () => {
  const row = (model: string, job: string, batch: number, speed: number, ratio: number): object => ({
    model: `${model}.safetensors`,
    job,
    batch,
    imagesPerSecond: { median: speed },
    milliseconds: { median: (1000 * batch) / speed },
    ratio: { median: ratio },
  });
  const RESNET = 'resnet50';
  const VIT = 'vit_base_patch16_224';
  const report = (...throughput: object[]): never => ({ throughput }) as never;
  const measured = {
    report: report(
      row(RESNET, 'forward', 64, 10_000, 1),
      row(RESNET, 'forward', 1, 500, 1),
      row(RESNET, 'cam', 64, 9_000, 1 / 0.9),
      row(RESNET, 'grad-cam', 64, 9_600, 1 / 0.96),
      row(VIT, 'forward', 64, 6_500, 1),
      row(VIT, 'attention-rollout', 64, 5_850, 1 / 0.9),
      row(VIT, 'gae', 64, 2_600, 1 / 0.4),
    ),
    withoutGraphs: report(row(RESNET, 'forward', 1, 250, 1)),
    python: {
      rows: [
        { network: RESNET, how: 'eager', imagesPerSecond: 8_000 },
        { network: RESNET, how: 'eager, channels last', imagesPerSecond: 10_500 },
        { network: RESNET, how: 'torch.compile, max-autotune', imagesPerSecond: 11_000 },
        { network: RESNET, how: 'pytorch-grad-cam', imagesPerSecond: 1_200 },
      ],
      missing: [],
    },
    batch: 64,
  };

  it('follow from the figures, and what has none is not measured', () => {
    expect(judge(measured).map(({ found, verdict }) => `${found} ${verdict}`)).toEqual([
      '0.90 PASS', // rollout, of 0.85
      '0.90 FAIL', // cam, of 0.95
      '0.40 PASS', // gae, of 0.40
      '0.95 FAIL', // ResNet50 over the faster way of eager
      '0.91 PASS', // over torch.compile, of 1 / 1.15
      'no figure not measured', // ViT over eager
      'no figure not measured', // and over torch.compile
      '2.00 PASS', // CUDA graphs, ResNet50
      'no figure not measured', // ViT
      '8.00 PASS', // over pytorch-grad-cam
    ]);
  });
});
