import { readdirSync, readFileSync } from 'node:fs';

import { describe, expect, it } from 'vitest';

import { chooseJobs, JOBS } from '../../bench/peers/jobs.mjs';
import { judge, LIMITS } from '../../bench/peers/limits.mjs';
import { ratioOf } from '../../bench/peers/measure.mjs';
import { columns, headText, jobData, jobText, tableText } from '../../bench/peers/report.mjs';
import { parseExplainOptions } from '../../lib/requests/explain-options.js';

const FOLDER = new URL('../../bench/peers/', import.meta.url);

function measured(name: string, times: Record<string, number[] | string>, growth: Record<string, number> = {}) {
  const contestants = Object.entries(times).map(([contestant, seconds]) => ({
    name: contestant,
    seconds: typeof seconds === 'string' ? [] : seconds,
    growth: growth[contestant] ?? null,
    idleShare: 0,
    failure: typeof seconds === 'string' ? seconds : null,
  }));
  return { name, network: null, images: 2, contestants, comparisons: [], ratioOf: ratioOf(contestants) };
}

describe('the list of jobs', () => {
  it('names peers that the Python side has', () => {
    const sources = readdirSync(FOLDER)
      .filter((file) => file.endsWith('.py'))
      .map((file) => readFileSync(new URL(file, FOLDER), 'utf8'));
    const known = sources.flatMap((source) =>
      [...source.matchAll(/^@peer\(["']([^"']+)["']\)/gm)].map((match) => match[1]!),
    );
    // Metrics have a benchmark of their own.
    const ofMetrics = [
      ...readFileSync(new URL('../metrics.mjs', FOLDER), 'utf8').matchAll(/'((?:quantus|torch-cam-metrics)\/[\w-]+)'/g),
    ].map((match) => match[1]!);
    const asked = [...JOBS.flatMap(({ peers }) => peers.map(({ name }) => name)), ...ofMetrics];
    expect(new Set(asked)).toEqual(new Set(known));
  });

  it('asks us for methods and options that exist, for the comparison too', () => {
    for (const { ours, peers } of JOBS) {
      if (!('method' in ours) || 'files' in ours || 'tensors' in ours) continue;
      for (const { answer = {} } of [{}, ...peers] as { answer?: object }[]) {
        expect(() => parseExplainOptions({ method: ours.method, ...ours.options, ...answer })).not.toThrow();
      }
    }
  });

  it('chooses by name, and tells the names to whoever errs', () => {
    expect(chooseJobs(['vit-gae', 'resnet50-cam']).map(({ name }) => name)).toEqual(['resnet50-cam', 'vit-gae']);
    expect(chooseJobs(null)).toHaveLength(JOBS.length);
    expect(() => chooseJobs(['vit-goe'])).toThrow('There is no job "vit-goe"; there are resnet50-forward,');
  });
});

describe('the limits', () => {
  it('speak of contestants that their jobs have', () => {
    for (const { job: name, of, to, least, most } of LIMITS.flatMap(({ checks }) => checks)) {
      const job = JOBS.find((found) => found.name === name)!;
      const contestants = [
        'ours',
        ...(job.network ? ['ours-bf16'] : []),
        ...(job.base ? ['base'] : []),
        ...job.peers.map((peer) => peer.name),
      ];
      expect(contestants, name).toEqual(expect.arrayContaining([of, to]));
      expect(
        [least, most].filter((limit) => limit !== undefined),
        name,
      ).toHaveLength(1);
    }
  });

  const verdictsOf = (...jobs: ReturnType<typeof measured>[]) => judge(jobs);
  const find = (verdicts: ReturnType<typeof judge>, job: string, of: string, to: string, quantity?: string) =>
    verdicts.find(
      (verdict) => verdict.job === job && verdict.of === of && verdict.to === to && verdict.quantity === quantity,
    )!;

  it('hold up to the limit itself and not beyond', () => {
    const verdicts = verdictsOf(
      measured('vit-gae', { base: [1, 1], ours: [2.15, 2.15], 'ours-bf16': [1, 1], 'chefer/gae': [3.01, 3.01] }),
      measured('resnet50-cam', { base: [1, 1], ours: [1.06, 1.06] }),
    );
    expect(find(verdicts, 'vit-gae', 'ours', 'base').verdict).toBe('pass');
    expect(find(verdicts, 'vit-gae', 'chefer/gae', 'ours')).toMatchObject({
      verdict: 'pass',
      value: expect.closeTo(1.4, 6),
    });
    expect(find(verdicts, 'vit-gae', 'chefer/gae', 'ours-bf16').verdict).toBe('pass');
    expect(find(verdicts, 'resnet50-cam', 'ours', 'base').verdict).toBe('FAIL');
  });

  it('judge memory by what was added, not by time', () => {
    const peer = 'pytorch-grad-cam/score-cam';
    const times = { ours: [1], 'torch-cam/score-cam': [1.5], [peer]: [3] };
    const found = (ours: number) =>
      find(
        verdictsOf(measured('resnet50-score-cam', times, { ours, [peer]: 100 })),
        'resnet50-score-cam',
        'ours',
        peer,
        'memory',
      );
    expect(found(49).verdict).toBe('pass');
    expect(found(51).verdict).toBe('FAIL');
    expect(
      find(verdictsOf(measured('resnet50-score-cam', times)), 'resnet50-score-cam', 'ours', peer, 'memory'),
    ).toMatchObject({ verdict: 'not measured', reason: 'the memory cannot be measured here' });
  });

  it('say why a limit was not measured', () => {
    const verdicts = verdictsOf(
      measured('vit-rollout', { base: [1], ours: [1], 'vit-explain/rollout': 'The Python worker died.' }),
    );
    expect(find(verdicts, 'vit-rollout', 'vit-explain/rollout', 'ours')).toMatchObject({
      verdict: 'not measured',
      reason: 'The Python worker died.',
    });
    expect(find(verdicts, 'vit-rollout', 'vit-explain/rollout', 'ours-bf16')).toMatchObject({
      verdict: 'not measured',
    });
    expect(find(verdicts, 'vit-gae', 'ours', 'base')).toMatchObject({
      verdict: 'not measured',
      reason: 'the job vit-gae was not run',
    });
  });

  it('are counted beneath the table', () => {
    const text = tableText(
      verdictsOf(measured('vit-rollout', { base: [1], ours: [1.05], 'vit-explain/rollout': [1.04] })),
    );
    const total = LIMITS.flatMap(({ checks }) => checks).length;
    expect(text).toContain(`1 of ${total} limits hold, 1 do not, ${total - 2} were not measured.`);
    expect(text).toMatch(/vit-rollout: ours \/ base +1\.050 +at most 1\.1 +pass/);
    expect(text).toContain('vit-rollout, vit-explain/rollout / ours-bf16: ours-bf16 was not asked for');
  });
});

describe('the report', () => {
  const job = measured('vit-gae', {
    base: [1, 1, 4],
    ours: [2, 2, 8],
    'chefer/gae': [3, 4, 16],
    other: 'The Python worker could not load it.',
  });

  it('shows milliseconds, images per second, and ratios with their spread', () => {
    const text = jobText(job);
    expect(text).toMatch(/ours +2000\.0 +1\.00 +2\.00 \(2\.00 to 2\.00\)/);
    expect(text).toMatch(/chefer\/gae +4000\.0 +0\.50 +4\.00 \(3\.00 to 4\.00\) +2\.00 \(1\.50 to 2\.00\)/);
    expect(text).toContain('other: The Python worker could not load it.');
  });

  it('keeps every round in the data, and survives JSON', () => {
    const data = JSON.parse(JSON.stringify(jobData(job))) as { contestants: unknown[]; ratios: { of: string }[] };
    expect(data.contestants[2]).toMatchObject({ name: 'chefer/gae', seconds: [3, 4, 16], medianSeconds: 4 });
    expect(data.ratios).toContainEqual({ of: 'chefer/gae', to: 'ours', median: 2, low: 1.5, high: 2 });
    expect(data.ratios.filter(({ of }) => of === 'other')).toEqual([]);
  });

  it('says with what it was measured', () => {
    const about = {
      started: '2026-11-22T03:00:00.000Z',
      machine: { cpu: 'Xeon', cores: 2, loadBefore: [1.234, 0, 0] },
      settings: { batch: 8, rounds: 5, threads: 2, gompSpinCount: '1000' },
      versions: {
        sightline: '0.1.0',
        ours: { node: 'v20', libtorch: '2.13.0', cpuCapability: 'AVX512' },
        peers: { python: '3.11.2', versions: { torch: '2.13.0+cpu', captum: null } },
      },
    };
    expect(headText(about)).toBe(
      [
        '2026-11-22T03:00:00.000Z; Xeon, 2 cores, load 1.23 before',
        'batch 8, 5 rounds, 2 threads on either side, GOMP_SPINCOUNT 1000',
        'sightline 0.1.0, LibTorch 2.13.0 (AVX512), Node v20; Python 3.11.2, torch 2.13.0+cpu, no captum',
      ].join('\n'),
    );
    expect(headText({ ...about, versions: { ...about.versions, peers: null } })).not.toContain('Python');
  });

  it('aligns columns', () => {
    expect(
      columns([
        ['a', 'bb'],
        ['ccc', 'd'],
      ]),
    ).toBe('a    bb\nccc   d');
  });
});
