import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';

import { describe, expect, it, onTestFinished } from 'vitest';

import { MAIN, ROOT, sightline, useBuiltCommand } from '../cli/command.js';
import { photo, post, until } from './support.js';

useBuiltCommand();
const cat = photo('cat.jpg');
const jpeg = { 'content-type': 'image/jpeg' };

interface Running {
  readonly child: ChildProcess;
  readonly url: string;
  readonly ended: Promise<number | null>;
  readonly stderr: () => string;
}

/** `sightline serve`, once its models are loaded. */
async function start(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Running> {
  const child = spawn(process.execPath, [MAIN, 'serve', '--port', '0', '--device', 'cpu', '--json', ...args], {
    cwd: ROOT,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  let stderr = '';
  child.stderr.on('data', (text: Buffer) => (stderr += text.toString()));
  const ended = once(child, 'exit').then(([code]) => code as number | null);
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  const { url } = JSON.parse(line) as { url: string };
  return { child, url, ended, stderr: () => stderr };
}

/** Of an hour, in seconds and milliseconds: what is answered is answered at the machine's pace. */
const UNHURRIED = ['--drain', '3600', '--deadline', '3600000'];

const inFlight = async (url: string): Promise<number> =>
  ((await (await fetch(`${url}/health`)).json()) as { inFlight: number }).inFlight;

describe('sightline serve', () => {
  it('answers every request that it accepted after SIGTERM, and ends with 0', async () => {
    const { child, url, ended, stderr } = await start([
      '--model',
      'vit=vit-tiny-shapes',
      '--model',
      'resnet-tiny-shapes',
      ...UNHURRIED,
    ]);
    expect(await (await fetch(`${url}/v1/models`)).json()).toEqual({ models: ['vit', 'resnet-tiny-shapes'] });
    const answers = Array.from({ length: 4 }, () =>
      post(`${url}/explain?method=rise&masks=150&memory=50000000`, cat, jpeg),
    );
    await until(async () => (await inFlight(url)) === 4);
    child.kill('SIGTERM');
    const answered = await Promise.all(answers);
    expect(
      await Promise.all(answered.map(async (answer) => [answer.status, (await answer.text()).slice(0, 120)])),
    ).toEqual(answered.map(() => [200, expect.stringContaining('"model":"vit"')]));
    expect(await ended).toBe(0);
    expect(stderr()).toBe('');
    await expect(fetch(`${url}/health`)).rejects.toThrow();
  });

  it('does not wait for a connection by which nothing comes', async () => {
    const { child, url, ended, stderr } = await start(['--model', 'vit-tiny-shapes', ...UNHURRIED]);
    const silent = connect(Number(new URL(url).port), '127.0.0.1');
    await once(silent, 'connect');
    // It is accepted by the time that a later one is answered.
    await (await fetch(`${url}/health`)).text();
    let said = '';
    silent.on('data', (text: Buffer) => (said += text.toString()));
    silent.on('error', () => undefined);
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
    // Node itself would have told it of a timeout, a minute later.
    expect([said, stderr()]).toEqual(['', '']);
  });

  it('answers what is no HTTP with a sentence and a code', async () => {
    const { child, url, ended } = await start(['--model', 'vit-tiny-shapes', ...UNHURRIED]);
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    let said = '';
    socket.on('data', (text: Buffer) => (said += text.toString()));
    socket.write('no HTTP at all\r\n\r\n');
    await once(socket, 'close');
    expect(said).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
    expect(JSON.parse(said.split('\r\n\r\n')[1]!)).toMatchObject({ code: 'INVALID_REQUEST' });
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
  });

  it('serves the bundled models where none is named, the one for photos first, and says where the page is', async () => {
    const { child, url, ended } = await start(UNHURRIED);
    expect(await (await fetch(`${url}/v1/models`)).json()).toEqual({
      models: ['efficientnet-lite0', 'resnet-tiny-shapes', 'vit-tiny-shapes'],
    });
    const page = await fetch(`${url}/`, { headers: { accept: 'text/html' } });
    expect([page.status, page.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8']);
    await page.text();
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
  });

  it('aborts what takes longer than --drain, answers it with 503, and ends with 1', async () => {
    const { child, url, ended, stderr } = await start([
      ...['--model', 'vit-tiny-shapes', '--drain', '1', '--limit', 'maxSamples=1000000', '--deadline', '600000'],
    ]);
    const answer = post(`${url}/explain?method=rise&masks=100000`, cat, jpeg);
    await until(async () => (await inFlight(url)) === 1);
    child.kill('SIGTERM');
    const response = await answer;
    expect([response.status, await response.json()]).toMatchObject([503, { code: 'CLOSING' }]);
    expect(await ended).toBe(1);
    expect(stderr()).toContain('1 requests were aborted');
  });

  it('logs by pino, asks for the token of its environment, and tells of its process', async () => {
    const env = { SIGHTLINE_TOKEN: 'a-token-of-20-letters' };
    const { child, url, ended, stderr } = await start(['--model', 'vit-tiny-shapes', '--log', ...UNHURRIED], env);
    expect((await post(`${url}/explain`, cat, jpeg)).status).toBe(401);
    const authorization = `Bearer ${env.SIGHTLINE_TOKEN}`;
    expect((await post(`${url}/explain`, cat, { ...jpeg, authorization })).status).toBe(200);
    const metrics = await (await fetch(`${url}/metrics`, { headers: { authorization } })).text();
    expect(metrics).toMatch(/^nodejs_eventloop_lag_p99_seconds /m);
    child.kill('SIGINT');
    expect(await ended).toBe(0);
    const lines = stderr()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as object);
    expect(lines).toMatchObject([
      { level: 30, route: 'explain', status: 401, code: 'UNAUTHORIZED' },
      { level: 30, route: 'explain', status: 200, code: null, msg: 'request answered' },
    ]);
    expect(stderr()).not.toContain('a-token');
  });

  it.each([
    ['an unknown limit', ['--limit', 'maxThings=1'], 'maxThings'],
    ['two models of one name', ['--model', 'a=x', '--model', 'a=y'], 'Two models are called a'],
    ['a model that is not there', ['--model', 'no-such-model'], 'no-such-model'],
    ['a port that is none', ['--port', '70000'], '65535'],
  ])('refuses %s in one line', async (_name, args, sentence) => {
    const { code, stdout, stderr } = await sightline('serve', '--port', '0', '--device', 'cpu', ...args);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toContain(sentence);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });

  it('says that a port is taken', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    onTestFinished(() => void taken.close());
    const port = String((taken.address() as AddressInfo).port);
    const { code, stderr } = await sightline('serve', '--model', 'vit-tiny-shapes', '--port', port);
    expect(code).toBe(2);
    expect(stderr).toContain(`port ${port} (EADDRINUSE)`);
  });
});
