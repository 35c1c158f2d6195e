import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import { describe, expect, it, onTestFinished } from 'vitest';

import { measureApart } from '../../lib/bench/child.js';
import type { ConfigurationRequest, Finding } from '../../lib/bench/configuration-request.js';

const REQUEST = { model: { label: 'net', nameOrPath: 'net.pt' }, device: 'cpu', dtype: 'f32' } as ConfigurationRequest;

/** Runs a process of that source in the measuring one's place. */
async function measureBy(
  source: string,
  signal?: AbortSignal,
  tell: (finding: Finding) => void = () => undefined,
): Promise<string[]> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'sightline-child-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const runner = path.join(folder, 'runner.mjs');
  writeFileSync(runner, `process.on('disconnect', () => process.exit());\n${source}`);
  const events: string[] = [];
  await measureApart(REQUEST, {
    signal,
    runner,
    tell: (finding) => {
      events.push(finding.kind);
      tell(finding);
    },
    measured: async () => void events.push('measured'),
  });
  return events;
}

describe('measureApart', () => {
  it('passes on what the process finds, and lets it go once all is measured', async () => {
    const notes: string[] = [];
    const source =
      "process.on('message', ({ model }) => { process.send({ kind: 'note', sentence: model.label }); process.send({ kind: 'done' }); });";
    expect(
      await measureBy(source, undefined, (finding) => finding.kind === 'note' && notes.push(finding.sentence)),
    ).toEqual(['note', 'measured']);
    expect(notes).toEqual(['net']);
  });

  it('throws what the process reports', async () => {
    await expect(
      measureBy(
        "process.on('message', () => process.send({ kind: 'failed', code: 'UNKNOWN_NODE', message: 'There is no such node.' }));",
      ),
    ).rejects.toMatchObject({ code: 'UNKNOWN_NODE', message: 'There is no such node.' });
  });

  it('names a process that cannot be started by a code', async () => {
    const { execPath } = process;
    process.execPath = path.join(os.tmpdir(), 'no-such-node');
    try {
      await expect(measureBy('')).rejects.toMatchObject({
        code: 'PROCESS_NOT_STARTED',
        message: expect.stringMatching(
          /^The process that measures a configuration could not be started \(spawn .*ENOENT\); free .*[^,]\.$/,
        ) as string,
      });
    } finally {
      process.execPath = execPath;
    }
  });

  it('says how a process ended that reported nothing', async () => {
    await expect(
      measureBy("process.on('message', () => { console.error('first\\nlast words'); process.exit(7); });"),
    ).rejects.toMatchObject({
      code: 'INTERNAL',
      message: 'The process that measured net on cpu, f32 ended by exit code 7: last words.',
    });
    await expect(measureBy("process.on('message', () => process.kill(process.pid, 'SIGKILL'));")).rejects.toMatchObject(
      { code: 'OUT_OF_MEMORY', message: expect.stringContaining('was killed') as string },
    );
    await expect(measureBy('process.exit(3);')).rejects.toMatchObject({
      message: expect.stringContaining('exit code 3') as string,
    });
  });

  it('ends the process when aborted', async () => {
    const abort = new AbortController();
    let pid = 0;
    const running = measureBy(
      "process.on('message', () => process.send({ kind: 'note', sentence: String(process.pid) }));",
      abort.signal,
      (finding) => {
        pid = Number(finding.kind === 'note' && finding.sentence);
        abort.abort();
      },
    );
    await expect(running).rejects.toMatchObject({ code: 'ABORTED' });
    expect(() => process.kill(pid, 0)).toThrow(/ESRCH/);
    await expect(measureBy('', AbortSignal.abort())).rejects.toMatchObject({ code: 'ABORTED' });
  });
});
