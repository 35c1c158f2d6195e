import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Model } from '../../lib/index.js';
import { ROOT } from '../support/python.js';
import { findClients, FOLDER } from './clients/python.js';
import { HOUR, load, serve, type Served } from './support.js';

const python = findClients();
/** All of them: `SIGHTLINE_SCHEMATHESIS=5000 npx vitest run test/service/schemathesis.test.ts`. */
const LEAST = Number(process.env['SIGHTLINE_SCHEMATHESIS'] ?? 400);
/** Its phase of coverage asks for every limit of every option of every method, which makes thousands alone. */
const PHASES = LEAST < 5000 ? 'fuzzing' : 'coverage,fuzzing';
/** Of schemathesis' own: what a document can promise. Not that a text is the picture of something. */
const CHECKS = [
  'not_a_server_error',
  'status_code_conformance',
  'content_type_conformance',
  'response_headers_conformance',
  'response_schema_conformance',
  'negative_data_rejection',
  'unsupported_method',
  'allow_header_conformance',
];

describe.skipIf(python === null)('the OpenAPI document', () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'sightline-schemathesis-'));
  let models: readonly Model[];
  let served: Served;
  beforeAll(async () => {
    const [resnet, vit] = await Promise.all([load('resnet-tiny-shapes'), load('vit-tiny-shapes')]);
    models = [resnet, vit];
    served = await serve({
      models: { resnet, vit },
      // What is allowed takes milliseconds, and what takes longer is refused.
      limits: { maxSamples: 4, maxTargets: 4 },
    });
    const picture = sharp({ create: { width: 48, height: 40, channels: 3, background: '#c85028' } });
    writeFileSync(path.join(folder, 'picture.png'), await picture.png().toBuffer());
  });
  afterAll(async () => {
    await served.stop();
    await Promise.all(models.map((model) => model.close()));
    rmSync(folder, { recursive: true });
  });

  /** Requests that were answered, by status. */
  async function answered(): Promise<Map<number, number>> {
    const text = await (await fetch(`${served.address}/metrics`)).text();
    const counts = new Map<number, number>();
    for (const [, status, count] of text.matchAll(/^sightline_requests_total\{.*status="(\d+)"\} (\d+)$/gm)) {
      counts.set(Number(status), (counts.get(Number(status)) ?? 0) + Number(count));
    }
    return counts;
  }
  const total = (counts: ReadonlyMap<number, number>): number => [...counts.values()].reduce((sum, n) => sum + n, 0);

  /** What schemathesis says where it found something; else null. */
  function breaches(seed: number, examples: number): Promise<string | null> {
    const args = [
      ...['run', `${served.address}/openapi.json`, '--seed', String(seed), '--max-examples', String(examples)],
      ...['--phases', seed === 1 ? PHASES : 'fuzzing', '--checks', CHECKS.join()],
      ...['--request-timeout', String(HOUR / 1000), '--wait-for-schema', String(HOUR / 1000)],
      ...['--suppress-health-check', 'all', '--continue-on-failure', '--no-color'],
    ];
    return new Promise((resolve) => {
      const env = {
        ...process.env,
        SCHEMATHESIS_HOOKS: 'schemathesis_hooks',
        PYTHONPATH: path.join(ROOT, FOLDER),
        PYTHONDONTWRITEBYTECODE: '1',
        SIGHTLINE_PICTURE: path.join(folder, 'picture.png'),
      };
      // It leaves files of its own where it runs.
      const options = { cwd: folder, env, maxBuffer: 1 << 28 };
      execFile(path.join(path.dirname(python!), 'schemathesis'), args, options, (error, stdout, stderr) =>
        resolve(error === null ? null : `${stdout}\n${stderr}`),
      );
    });
  }

  it('is kept by every answer, and no request makes the service fail', { timeout: HOUR }, async () => {
    const examples = Math.max(4, Math.ceil(LEAST / 40));
    for (let seed = 1; total(await answered()) < LEAST; seed++) expect(await breaches(seed, examples)).toBeNull();
    const counts = await answered();
    console.log(`schemathesis: ${total(counts)} requests, ${JSON.stringify(Object.fromEntries(counts))}`);
    expect([...counts.keys()].filter((status) => status >= 500)).toEqual([]);
    // They were no mere refusals.
    expect(counts.get(200)).toBeGreaterThan(LEAST / 20);
  });
});
