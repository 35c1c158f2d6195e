import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import path from 'node:path';

import { validate } from 'dockerfile-utils';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { parseAllDocuments } from 'yaml';

import { setUpBench, type Bench } from '../packaging/support.js';
import { photo, post, until } from '../service/support.js';
import { ROOT } from '../support/python.js';
import { build, environmentOf, instructionsOf, type Image } from './dockerfile.js';

const textOf = (file: string): string => readFileSync(path.join(ROOT, 'deploy', file), 'utf8');
const FILES = ['cpu.Dockerfile', 'cuda.Dockerfile'];
/** The number that `node` has in Node's images, and that nobody need have here. */
const USER = 1000;
const isRoot = process.getuid?.() === 0;

describe.each(FILES)('%s', (file) => {
  it('has no fault that a linter finds', () => {
    expect(validate(textOf(file)).map(({ message, range }) => [range.start.line + 1, message])).toEqual([]);
  });

  it('installs as root, runs as another user, and starts Node itself', () => {
    const last = instructionsOf(textOf(file));
    const names = last.map(({ name }) => name);
    expect(names.lastIndexOf('USER')).toBeGreaterThan(names.lastIndexOf('RUN'));
    expect(names.lastIndexOf('USER')).toBeGreaterThan(names.lastIndexOf('COPY'));
    const entrypoint = JSON.parse(last.find(({ name }) => name === 'ENTRYPOINT')!.text) as string[];
    expect(entrypoint.slice(0, 3)).toEqual(['node', 'node_modules/sightline/dist/cli/main.js', 'serve']);
    expect(last.find(({ name }) => name === 'HEALTHCHECK')!.text).toContain('/v2/health/ready');
  });
});

it('the linter finds what is wrong', () => {
  expect(validate('FROM node:24\nRUNS npm install\n')).not.toEqual([]);
});

it('the two differ in the device and in what it needs alone', () => {
  const [cpu, cuda] = FILES.map((file) => instructionsOf(textOf(file)).map(({ name, text }) => `${name} ${text}`)) as [
    string[],
    string[],
  ];
  const only = (of: string[], other: string[]): string[] => of.filter((line) => !other.includes(line));
  expect(only(cuda, cpu).map((line) => line.split(' ')[0])).toEqual([
    'ENV',
    'RUN',
    'RUN',
    'ENV',
    'HEALTHCHECK',
    'ENTRYPOINT',
  ]);
  expect(only(cuda, cpu).join('\n')).toContain('SIGHTLINE_LIBTORCH_VARIANT=cu130');
});

describe('the image of cpu.Dockerfile', () => {
  let bench: Bench;
  let image: Image;

  beforeAll(() => {
    bench = setUpBench();
    image = build(textOf('cpu.Dockerfile'), {
      folder: path.join(bench.folder, 'stages'),
      context: path.dirname(bench.tarball),
      env: { ...process.env, npm_config_prefer_offline: 'true' },
      leavesOut: (command) => /^apt-get |^rm -rf \/var\/lib\/apt/.test(command),
      before: (command, at) => {
        if (!command.startsWith('npx sightline setup')) return;
        // LibTorch is there already, so that set-up fetches none.
        const cache = environmentOf(at)['SIGHTLINE_CACHE']!;
        const { status, stderr } = spawnSync('sh', ['-c', 'mkdir -p "$1" && cp -al "$0"/. "$1"', bench.cache, cache], {
          encoding: 'utf8',
        });
        if (status !== 0) throw new Error(stderr);
      },
    });
  });
  afterAll(() => bench.remove());

  /** A port that nobody listens at, in the place of the image's, since other programs run here too. */
  async function freePort(): Promise<string> {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, 'close');
    return String(port);
  }

  interface Running {
    readonly child: ChildProcess;
    readonly ended: Promise<number | null>;
    readonly stderr: () => string;
    readonly url: string;
    readonly isHealthy: () => boolean;
  }

  /** As a container of the image runs, where no folder can be written to: by a user who owns none, and has no home. */
  async function start(command: readonly string[]): Promise<Running> {
    const port = await freePort();
    const withPort = (words: readonly string[]): string[] => words.map((word) => word.replaceAll('8080', port));
    const options = {
      cwd: path.join(image.root, image.workdir),
      env: { PATH: `${bench.bin}:/usr/bin:/bin`, TMPDIR: '/proc', ...environmentOf(image) },
      ...(isRoot && { uid: USER, gid: USER }),
    };
    const [program, ...args] = withPort(command);
    const child = spawn(program!, args, { ...options, stdio: ['ignore', 'ignore', 'pipe'] });
    onTestFinished(() => void child.kill('SIGKILL'));
    let stderr = '';
    child.stderr.on('data', (text: Buffer) => (stderr += text.toString()));
    const ended = once(child, 'exit').then(([code]) => code as number | null);
    const isHealthy = (): boolean => {
      const [check, ...rest] = withPort(image.healthcheck);
      return spawnSync(check!, rest, options).status === 0;
    };
    await until(() => {
      if (child.exitCode !== null) throw new Error(`It ended with ${child.exitCode}: ${stderr}`);
      return isHealthy();
    });
    return { child, ended, stderr: () => stderr, url: `http://127.0.0.1:${port}`, isHealthy };
  }

  it('serves where nothing can be written, is healthy, and ends at SIGTERM with 0', async () => {
    expect(image.user).toBe('node');
    const { child, ended, stderr, url, isHealthy } = await start([...image.entrypoint, ...image.cmd]);
    const answer = await post(`${url}/explain?legend=true`, photo('cat.jpg'), {
      'content-type': 'image/jpeg',
      accept: 'image/png',
    });
    expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'image/png']);
    expect(
      Buffer.from(await answer.arrayBuffer())
        .subarray(1, 4)
        .toString(),
    ).toBe('PNG');
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
    expect(isHealthy()).toBe(false);
    // A line of the log for the request, and nobody's complaint about a folder.
    const lines = stderr().trim().split('\n');
    expect(lines.at(-1)).toContain('"route":"explain","status":200');
    expect(lines.slice(0, -1)).toEqual([expect.stringContaining('Whoever reaches 0.0.0.0 may use it')]);
  });

  it('starts by the command of kserve.yaml, whatever arguments KServe adds', async () => {
    const [manifest] = parseAllDocuments(textOf('kserve.yaml'));
    const { command } = manifest!.toJS().spec.explainer.containers[0] as { command: string[] };
    const added = ['--model_name', 'vit', '--predictor_host', 'vit-predictor.default', '--http_port', '8080'];
    const { child, ended, url } = await start([...command, ...added]);
    expect(await (await fetch(`${url}/v1/models/vit`)).json()).toEqual({ name: 'vit', ready: true });
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
  });
});
