import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, describe, expect, it } from 'vitest';

import { probeArchive } from '../../lib/archives/isolation.js';
import { until } from '../concurrency/models.js';
import { Model, type LoadOptions } from '../../lib/index.js';
import { sightline, useBuiltCommand } from '../cli/command.js';
import { archivePath } from '../support/models.js';
import { forge, type ForgedModel } from './forge.js';

const scratch = mkdtempSync(join(tmpdir(), 'sightline-isolate-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
let made = 0;

/** `trust` lets pass what the checks would have refused, so that it is the fence that holds. */
async function refusalOf(
  model: ForgedModel,
  isolate: LoadOptions['isolate'] = true,
): Promise<{ code: string; message: string }> {
  const file = join(scratch, `${made++}.pt`);
  writeFileSync(file, forge(model));
  try {
    await using model = await Model.load(file, { device: 'cpu', trust: true, isolate });
    return { code: `LOADED ${model.device}`, message: '' };
  } catch (error) {
    const { code, message } = error as { code: string; message: string };
    return { code, message };
  }
}

const SCORES = '    return torch.matmul(torch.mean(x, [2, 3]), self.weight)';

describe('a probe in a process of its own', () => {
  it('lets an honest archive pass', async () => {
    expect(await refusalOf({})).toMatchObject({ code: 'LOADED cpu' });
  });

  it('passes the refusals of the checks on', async () => {
    await expect(Model.load(archivePath('two-inputs'), { device: 'cpu', isolate: true })).rejects.toMatchObject({
      name: 'SightlineError',
      code: 'UNSUPPORTED_MODEL',
    });
  });

  it('crashes in the caller’s place', async () => {
    // LibTorch's parser works by recursion.
    const { code, message } = await refusalOf({ forward: `    return ${'('.repeat(200_000)}x${')'.repeat(200_000)}` });
    expect(code).toBe('ARCHIVE_CRASHED');
    expect(message).toMatch(/crashed the process that it was opened in \(SIG(SEGV|BUS|ABRT)\)/);
  });

  it('is killed when it hangs', async () => {
    // That it comes back at all says that the probe was killed: its loop has no end.
    const { code, message } = await refusalOf(
      {
        forward: `    i = 0\n    _0 = True\n    while _0:\n      i = torch.add(i, 1)\n      _0 = torch.gt(i, -1)\n${SCORES}`,
      },
      { seconds: 4 },
    );
    expect({ code, message }).toMatchObject({
      code: 'ARCHIVE_TIMED_OUT',
      message: expect.stringContaining('within 4 s'),
    });
  });

  it('that cannot be started is refused by a code', async () => {
    const { execPath } = process;
    process.execPath = join(scratch, 'no-such-node');
    try {
      const { code, message } = await refusalOf({});
      expect({ code, message }).toMatchObject({
        code: 'PROCESS_NOT_STARTED',
        message: expect.stringMatching(
          /^The process that probes archives could not be started \(spawn .*ENOENT\)/,
        ) as string,
      });
    } finally {
      process.execPath = execPath;
    }
  });

  it.runIf(process.platform === 'linux')('cannot take more memory than it may', async () => {
    const { code } = await refusalOf(
      {
        forward: `    l = [x]\n    for i in range(100000):\n      _0 = torch.append(l, torch.zeros([64, 1024, 1024]))\n    return torch.add(torch.matmul(torch.mean(x, [2, 3]), self.weight), torch.len(l))`,
      },
      { seconds: 60, megabytes: 1500 },
    );
    expect(code).toBe('OUT_OF_MEMORY');
  });

  it.runIf(process.platform === 'linux')(
    'writes nothing, where the kernel has Landlock or the file must grow',
    async () => {
      const canary = join(scratch, 'canary');
      writeFileSync(canary, 'untouched');
      const file = join(scratch, 'writes.pt');
      writeFileSync(
        file,
        forge({
          forward: `    _0 = torch.save(x, ${JSON.stringify(canary)})\n    _1 = torch.save(x, ${JSON.stringify(`${canary}-new`)})\n${SCORES}`,
        }),
      );
      // The probe alone: Model.load would open what passes here itself afterwards. aten::save does not tell that it
      // failed.
      await probeArchive(
        { path: file, dtype: 'f32', optimize: true, trust: true, maxArchiveBytes: 2 ** 20, input: null },
        {},
      );
      expect(existsSync(`${canary}-new`)).toBe(false);
      // Without Landlock a file can still be emptied, though not filled.
      expect(['untouched', '']).toContain(readFileSync(canary, 'utf8'));
    },
  );

  it('has an empty folder, no input, and of the environment only what LibTorch needs', async () => {
    const probe = join(scratch, 'fake-probe.mjs');
    writeFileSync(
      probe,
      `import { readdirSync, fstatSync } from 'node:fs';
       const told = { names: Object.keys(process.env), cwd: process.cwd(), files: readdirSync('.'), input: fstatSync(0).isCharacterDevice(), execArgv: process.execArgv };
       process.send({ kind: 'refused', code: 'INTERNAL', message: JSON.stringify(told) }, () => process.exit(0));`,
    );
    process.env['SIGHTLINE_SECRET'] = 'token';
    const failure = await probeArchive(
      { path: 'a.pt', dtype: 'f32', optimize: true, trust: false, maxArchiveBytes: 1, input: null },
      {},
      undefined,
      probe,
    ).then(
      () => null,
      (error: Error) => error,
    );
    delete process.env['SIGHTLINE_SECRET'];
    const told = JSON.parse(failure!.message) as {
      names: string[];
      cwd: string;
      files: string[];
      input: boolean;
      execArgv: string[];
    };
    expect(
      told.names.filter(
        (name) =>
          ![
            'TMPDIR',
            'CUDA_VISIBLE_DEVICES',
            'LD_LIBRARY_PATH',
            'DYLD_LIBRARY_PATH',
            'OMP_NUM_THREADS',
            'NODE_CHANNEL_FD',
            'NODE_CHANNEL_SERIALIZATION_MODE',
          ].includes(name),
      ),
    ).toEqual([]);
    expect(told).toMatchObject({ files: [], input: true, execArgv: [] });
    expect(existsSync(told.cwd)).toBe(false);
  });

  it('is killed when the signal is aborted', async () => {
    const probe = join(scratch, 'endless-probe.mjs');
    const told = join(scratch, 'endless-probe.pid');
    writeFileSync(
      probe,
      `import { writeFileSync } from 'node:fs';\nwriteFileSync(${JSON.stringify(told)}, String(process.pid));\nsetInterval(() => undefined, 1000);\n`,
    );
    const abort = new AbortController();
    const reason = new Error('no longer needed');
    const probing = probeArchive(
      { path: 'a.pt', dtype: 'f32', optimize: true, trust: false, maxArchiveBytes: 1, input: null },
      {},
      abort.signal,
      probe,
    ).catch((error: unknown) => error);
    await until('the probe to start', () => existsSync(told) && readFileSync(told, 'utf8') !== '');
    abort.abort(reason);
    expect(await probing).toMatchObject({ name: 'AbortError', code: 'ABORTED', cause: reason });
    const pid = Number(readFileSync(told, 'utf8'));
    expect(() => process.kill(pid, 0)).toThrow(expect.objectContaining({ code: 'ESRCH' }));
  });

  it.each([{ seconds: 0 }, { megabytes: 1 }, { minutes: 1 }, 'yes'])('is not taken with %o', async (isolate) => {
    await expect(Model.load(archivePath('conv-net'), { isolate: isolate as never })).rejects.toMatchObject({
      code: 'INVALID_OPTION',
    });
  });
});

describe('the command line', () => {
  useBuiltCommand();

  it('refuses an archive that is not trusted in one line, and takes it with --trust', async () => {
    const file = join(scratch, 'seeds.pt');
    writeFileSync(file, forge({ forward: `    _0 = torch.manual_seed(7)\n${SCORES}` }));
    const refused = await sightline('inspect', file);
    expect(refused).toMatchObject({ code: 2, stdout: '' });
    expect(refused.stderr).toMatch(
      /^sightline: .*uses the operator aten::manual_seed in forged\.Net\.forward.*--trust.*\n$/,
    );
    expect((await sightline('inspect', file, '--trust')).code).toBe(0);
  });

  it('probes with --isolate', async () => {
    const honest = join(scratch, 'honest.pt');
    writeFileSync(honest, forge());
    const { code, stderr } = await sightline('inspect', honest, '--isolate');
    expect({ code, stderr }).toMatchObject({ code: 0 });
    const crashing = join(scratch, 'crashes.pt');
    writeFileSync(crashing, forge({ forward: `    return ${'('.repeat(200_000)}x${')'.repeat(200_000)}` }));
    const crashed = await sightline('inspect', crashing, '--trust', '--isolate');
    expect(crashed.code).toBe(2);
    expect(crashed.stderr).toMatch(/crashed the process that it was opened in/);
  });
});
