import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { type IncomingMessage, type RequestListener, createServer } from 'node:http';
import { type AddressInfo, type Socket, connect } from 'node:net';
import path from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  type Outcome,
  fakeFiles,
  officialArchive,
  runModule,
  runScript,
  temporaryFolder,
  writeProgram,
  zip,
} from './fixtures.js';

const sha256 = (data: Buffer): string => createHash('sha256').update(data).digest('hex');

const PINNED_CPU = 'edbf4cbed78433d803e90a65f1752e57783d164bce66c95c0872b2ab8f5c159e';

interface Server {
  url: string;
  requests: IncomingMessage[];
  tunnels: string[];
}

async function serve(answer: RequestListener): Promise<Server> {
  const requests: IncomingMessage[] = [];
  const tunnels: string[] = [];
  const server = createServer((request, response) => {
    requests.push(request);
    answer(request, response);
  });
  // As a proxy: undici asks for a tunnel to the host it wants; this one leads every tunnel back to the server itself.
  server.on('connect', (request: IncomingMessage, socket: Socket) => {
    tunnels.push(request.url ?? '');
    const back = connect((server.address() as AddressInfo).port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      back.pipe(socket).pipe(back);
    });
    for (const end of [back, socket]) end.on('error', () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests, tunnels };
}

const send =
  (data: Buffer): RequestListener =>
  (_request, response) =>
    response.writeHead(200, { 'content-length': data.length }).end(data);

function world(): { cache: string; libraries: string; env: Record<string, string> } {
  const folder = temporaryFolder();
  const cache = path.join(folder, 'cache');
  return {
    cache,
    libraries: path.join(cache, 'libtorch'),
    env: { PATH: path.join(folder, 'bin'), HOME: folder, SIGHTLINE_CACHE: cache, SIGHTLINE_LIBTORCH_VARIANT: 'cpu' },
  };
}

const fetchScript = (args: string[], env: Record<string, string>): Promise<Outcome> =>
  runScript('fetch-libtorch.mjs', args, { env });

function expectRefusal(outcome: Outcome, libraries: string): string {
  expect(outcome.code).toBe(1);
  expect(outcome.stdout).toBe('');
  const lines = outcome.stderr.split('\n').filter((line) => line.startsWith('sightline: '));
  expect(lines).toHaveLength(1);
  expect(outcome.stderr).not.toMatch(/^\s+at /m);
  // Nothing may be left behind, neither half a LibTorch nor half a download.
  expect(existsSync(libraries) ? readdirSync(libraries) : []).toEqual([]);
  return lines[0] ?? '';
}

describe('the official archive', () => {
  it('is streamed, verified, unpacked without the needless and put in its place', async () => {
    const archive = officialArchive();
    const server = await serve(send(archive));
    const { libraries, env } = world();
    const outcome = await fetchScript(
      ['--variant', 'cpu', '--mirror', `${server.url}/mirror/`, '--sha256', sha256(archive).toUpperCase()],
      env,
    );
    const root = path.join(libraries, '2.13.0-cpu');
    expect(outcome).toMatchObject({ code: 0, stdout: `${root}\n` });
    expect(server.requests.map(({ url }) => url)).toEqual(['/mirror/cpu/libtorch-shared-with-deps-2.13.0%2Bcpu.zip']);
    expect(outcome.stderr).toMatch(/MB of [\d.]+ MB \(100 %\), [\d.]+ MB\/s/);
    expect(readFileSync(path.join(root, 'lib/libc10.so'))).toEqual(fakeFiles()['lib/libc10.so']);
    expect(statSync(path.join(root, 'lib/libc10.so')).mode & 0o777).toBe(0o755);
    expect(readdirSync(root).sort()).toEqual(['build-version', 'include', 'lib']);
    expect(readdirSync(path.join(root, 'lib')).sort()).toEqual(['libc10.so', 'libtorch.so', 'libtorch_cpu.so']);
    expect(readdirSync(libraries)).toEqual(['2.13.0-cpu']);
  });

  it('is fetched through redirects, from a mirror that names one archive', async () => {
    const archive = officialArchive();
    const server = await serve((request, response) => {
      if (request.url === '/other/place') send(archive)(request, response);
      else response.writeHead(302, { location: '/other/place' }).end();
    });
    const { libraries, env } = world();
    const outcome = await fetchScript(
      ['--variant', 'cpu', '--mirror', `${server.url}/any.zip?key=1`, '--sha256', sha256(archive)],
      env,
    );
    expect(outcome.code).toBe(0);
    expect(server.requests.map(({ url }) => url)).toEqual(['/any.zip?key=1', '/other/place']);
    expect(readdirSync(libraries)).toEqual(['2.13.0-cpu']);
  });

  it('replaces a damaged LibTorch in its place and keeps a good one', async () => {
    const archive = officialArchive();
    const server = await serve(send(archive));
    const { libraries, env } = world();
    const root = path.join(libraries, '2.13.0-cpu');
    mkdirSync(path.join(root, 'lib'), { recursive: true });
    const args = ['--variant', 'cpu', '--mirror', server.url, '--sha256', sha256(archive)];
    expect((await fetchScript(args, env)).code).toBe(0);
    expect(existsSync(path.join(root, 'lib/libc10.so'))).toBe(true);
    writeFileSync(path.join(root, 'mine'), '');
    expect((await fetchScript(args, env)).code).toBe(0);
    expect(existsSync(path.join(root, 'mine'))).toBe(true);
  });

  it('is checked against the pinned hash where none is given', async () => {
    const archive = officialArchive();
    const server = await serve(send(archive));
    const { libraries, env } = world();
    const line = expectRefusal(await fetchScript(['--variant', 'cpu', '--mirror', server.url], env), libraries);
    expect(line).toContain(`has SHA-256 ${sha256(archive)} and not ${PINNED_CPU}`);
  });

  it('is not downloaded without any hash', async () => {
    const server = await serve(send(Buffer.from('never')));
    const { libraries, env } = world();
    const line = expectRefusal(await fetchScript(['--variant', 'cu999', '--mirror', server.url], env), libraries);
    expect(line).toContain('No SHA-256 is known for LibTorch 2.13.0 cu999');
    expect(line).toContain('--sha256');
    expect(server.requests).toHaveLength(0);
  });

  it('is refused when its hash is another', async () => {
    const server = await serve(send(officialArchive()));
    const { libraries, env } = world();
    const line = expectRefusal(
      await fetchScript(['--variant', 'cpu', '--mirror', server.url, '--sha256', '0'.repeat(64)], env),
      libraries,
    );
    expect(line).toContain(`and not ${'0'.repeat(64)}`);
    expect(line).toContain('nothing was installed');
  });

  it('is refused when it breaks off', async () => {
    const archive = officialArchive();
    const server = await serve((_request, response) => {
      response.writeHead(200, { 'content-length': archive.length });
      response.write(archive.subarray(0, 500), () => response.destroy());
    });
    const { libraries, env } = world();
    const line = expectRefusal(
      await fetchScript(['--variant', 'cpu', '--mirror', server.url, '--sha256', sha256(archive)], env),
      libraries,
    );
    expect(line).toMatch(new RegExp(`broke off after \\d+ of ${archive.length} bytes`));
    expect(line).toContain('try again');
  });

  it('is refused when the server has none', async () => {
    const server = await serve((_request, response) => response.writeHead(404).end('no'));
    const { libraries, env } = world();
    const line = expectRefusal(await fetchScript(['--variant', 'cpu', '--mirror', server.url], env), libraries);
    expect(line).toContain('/cpu/libtorch-shared-with-deps-2.13.0%2Bcpu.zip answered 404 Not Found');
  });

  it('is refused when nothing answers', async () => {
    const { libraries, env } = world();
    const closed = createServer();
    await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve));
    const { port } = closed.address() as AddressInfo;
    await new Promise((resolve) => closed.close(resolve));
    const line = expectRefusal(
      await fetchScript(['--variant', 'cpu', '--mirror', `http://127.0.0.1:${port}`], env),
      libraries,
    );
    expect(line).toContain('cannot be reached (ECONNREFUSED)');
    expect(line).toContain('HTTPS_PROXY');
  });

  it('is refused when it holds another version', async () => {
    const archive = officialArchive({ version: '2.9.0+cpu' });
    const server = await serve(send(archive));
    const { libraries, env } = world();
    const line = expectRefusal(
      await fetchScript(['--variant', 'cpu', '--mirror', server.url, '--sha256', sha256(archive)], env),
      libraries,
    );
    expect(line).toContain('that is LibTorch 2.9.0+cpu and sightline needs 2.11 to 2.15');
  });
});

describe('proxies', () => {
  it('are used as HTTP_PROXY says', async () => {
    const archive = officialArchive();
    const proxy = await serve(send(archive));
    const { env } = world();
    const outcome = await fetchScript(
      ['--variant', 'cpu', '--mirror', 'http://libtorch.test/', '--sha256', sha256(archive)],
      { ...env, HTTP_PROXY: proxy.url },
    );
    expect(outcome.code).toBe(0);
    expect(proxy.tunnels.length > 0 ? proxy.tunnels[0] : proxy.requests[0]?.url).toContain('libtorch.test');
  });

  it('are passed by as NO_PROXY says', async () => {
    const archive = officialArchive();
    const proxy = await serve(send(archive));
    const server = await serve(send(archive));
    const { env } = world();
    const outcome = await fetchScript(['--variant', 'cpu', '--mirror', server.url, '--sha256', sha256(archive)], {
      ...env,
      http_proxy: proxy.url,
      NO_PROXY: '127.0.0.1',
    });
    expect(outcome.code).toBe(0);
    expect(proxy.requests).toHaveLength(0);
    expect(proxy.tunnels).toHaveLength(0);
    expect(server.requests).toHaveLength(1);
  });
});

describe('the disk', () => {
  it('is looked at before a byte is written', async () => {
    const archive = officialArchive();
    let sent = 0;
    const server = await serve((request, response) => {
      response.on('pipe', () => sent++);
      send(archive)(request, response);
    });
    const { cache, libraries, env } = world();
    const outcome = await runModule(
      `import { fetchLibTorch } from '$scripts/fetch-libtorch.mjs';
       import { runCommand } from '$lib/setup/setup-error.mjs';
       const statfs = async () => ({ bavail: 100, bsize: 1_000_000 });
       await runCommand(() => fetchLibTorch({ variant: 'cpu', mirror: '${server.url}', statfs }).then(console.log));`,
      { env },
    );
    const line = expectRefusal(outcome, libraries);
    expect(line).toContain('100.0 MB free and LibTorch needs 520.0 MB there');
    expect(line).toContain(cache);
    expect(line).toContain('SIGHTLINE_CACHE');
    expect(sent).toBe(0);
  });
});

describe('--from-file', () => {
  const from = async (
    name: string,
    data: Buffer,
    more: string[] = [],
  ): Promise<{ outcome: Outcome; libraries: string }> => {
    const { libraries, env } = world();
    const file = path.join(temporaryFolder(), name);
    writeFileSync(file, data);
    return { outcome: await fetchScript(['--variant', 'cpu', '--from-file', file, ...more], env), libraries };
  };

  it('takes an archive', async () => {
    const { outcome, libraries } = await from('mine.zip', officialArchive({ version: '2.12.1+cpu' }));
    expect(outcome.code).toBe(0);
    expect(outcome.stderr).toContain('pass --sha256 to have it verified');
    expect(readdirSync(libraries)).toEqual(['2.12.1-cpu']);
  });

  it('takes a wheel, with its licence and without its Python', async () => {
    const members = Object.fromEntries(
      Object.entries(fakeFiles({ versionIn: 'version.py' })).map(([name, data]) => [`torch/${name}`, data]),
    );
    const { outcome, libraries } = await from(
      'torch-2.13.0-cp312-cp312-manylinux_2_28_x86_64.whl',
      zip({
        ...members,
        'torch/__init__.py': Buffer.from(''),
        'torch-2.13.0.dist-info/licenses/LICENSE': Buffer.from('licence'),
      }),
    );
    expect(outcome.code).toBe(0);
    expect(readdirSync(path.join(libraries, '2.13.0-cpu')).sort()).toEqual(['LICENSE', 'include', 'lib', 'version.py']);
  });

  it('holds the official name to the pinned hash', async () => {
    const { outcome, libraries } = await from('libtorch-shared-with-deps-2.13.0+cpu.zip', officialArchive());
    expect(expectRefusal(outcome, libraries)).toContain(`and not ${PINNED_CPU}`);
  });

  it.each<[string, string, Buffer, string[], string]>([
    ['a wrong hash', 'mine.zip', officialArchive(), ['--sha256', '1'.repeat(64)], `and not ${'1'.repeat(64)}`],
    ['no zip', 'mine.zip', Buffer.from('<html>sign in</html>'), [], 'is no zip archive that can be read'],
    ['a truncated zip', 'mine.zip', officialArchive().subarray(0, 900), [], 'is no zip archive that can be read'],
    ['something else in it', 'mine.zip', zip({ 'readme.txt': Buffer.from('hello') }), [], 'it holds no LibTorch'],
    [
      'a path that leads out',
      'mine.zip',
      zip({ '../../evil': Buffer.from('x') }),
      [],
      'is no zip archive that can be read',
    ],
    [
      'a part missing',
      'mine.zip',
      officialArchive({ without: ['lib/libtorch_cpu.so'] }),
      [],
      'lib/libtorch_cpu.so is missing there',
    ],
  ])('refuses %s', async (_name, name, data, more, reason) => {
    const { outcome, libraries } = await from(name, data, more);
    expect(expectRefusal(outcome, libraries)).toContain(reason);
  });

  it('refuses a file that is not there', async () => {
    const { libraries, env } = world();
    expect(
      expectRefusal(await fetchScript(['--variant', 'cpu', '--from-file', '/nowhere.zip'], env), libraries),
    ).toContain('--from-file is /nowhere.zip, and there is no such file');
  });
});

describe('wrong arguments are one sentence', () => {
  it.each([
    [['--sha256', 'abc'], '--sha256 is abc'],
    [['--mirror', 'nonsense'], '--mirror is nonsense'],
    [['--variant', 'gpu'], 'The variant is gpu'],
    [['--mirror', 'http://a.test', '--from-file', 'b.zip'], 'exclude each other'],
    [['--nonsense'], '--help'],
  ])('%o', async (args, reason) => {
    const { libraries, env } = world();
    expect(expectRefusal(await fetchScript(args, env), libraries)).toContain(reason);
  });
});

/** A python3 whose pip has one wheel, named by a requirement and, where given, for one foreign Python version. */
function fakePip(bin: string, wheel: string, requirement: string, python = ''): void {
  writeProgram(
    path.join(bin, 'python3'),
    `#!${process.execPath}
const { appendFileSync, copyFileSync } = require('node:fs');
const path = require('node:path');
const args = process.argv.slice(2);
appendFileSync(${JSON.stringify(path.join(bin, 'calls'))}, args.join(' ') + '\\n');
if (args.join(' ') === '-m pip --version') process.exit(0);
const version = args.includes('--python-version') ? args[args.indexOf('--python-version') + 1] : '';
if (args.at(-1) !== ${JSON.stringify(requirement)} || version !== ${JSON.stringify(python)}) {
  console.error('ERROR: No matching distribution found for ' + args.at(-1));
  process.exit(1);
}
const into = args[args.indexOf('--dest') + 1];
console.log('Downloading torch-2.13.0.whl (191.8 MB)');
copyFileSync(${JSON.stringify(wheel)}, path.join(into, path.basename(${JSON.stringify(wheel)})));
setTimeout(() => {}, 600);
`,
  );
}

describe('the automatic way', () => {
  const wheelFile = (): string => {
    const file = path.join(temporaryFolder(), 'torch-2.13.0-cp312-cp312-manylinux_2_28_x86_64.whl');
    writeFileSync(
      file,
      zip(
        Object.fromEntries(
          Object.entries(fakeFiles({ versionIn: 'version.py' })).map(([name, data]) => [`torch/${name}`, data]),
        ),
      ),
    );
    return file;
  };

  it.each([
    ['of the CPU build', 'torch==2.13.0+cpu', ''],
    ['of the only build an index has', 'torch==2.13.0', ''],
    ['for another Python than the one here', 'torch==2.13.0', '311'],
  ])('goes on to the pip wheel %s where the archive cannot be had', async (_name, requirement, python) => {
    const server = await serve((_request, response) => response.writeHead(403).end());
    const { libraries, env } = world();
    fakePip(env['PATH'] ?? '', wheelFile(), requirement, python);
    const outcome = await fetchScript([], { ...env, SIGHTLINE_LIBTORCH_MIRROR: server.url });
    expect(outcome.code).toBe(0);
    expect(server.requests).toHaveLength(1);
    expect(outcome.stderr).toContain('answered 403');
    expect(outcome.stderr).toMatch(/torch 2\.13\.0: [\d.]+ MB of 191\.8 MB/);
    expect(outcome.stdout).toBe(`${path.join(libraries, '2.13.0-cpu')}\n`);
    expect(readdirSync(libraries)).toEqual(['2.13.0-cpu']);
    expect(readFileSync(path.join(env['PATH'] ?? '', 'calls'), 'utf8')).toContain('--no-deps');
  });

  it('says why each way failed, and what is left, where there is no Python either', async () => {
    const { libraries, env } = world();
    const outcome = await fetchScript([], { ...env, SIGHTLINE_LIBTORCH_MIRROR: 'http://127.0.0.1:1' });
    const line = expectRefusal(outcome, libraries);
    expect(outcome.stderr).toContain('(official archive, cpu): http://127.0.0.1:1');
    expect(outcome.stderr).toContain('(pip wheel, cpu): There is no Python here');
    expect(line).toContain('--from-file');
  });

  it('tells a Python without pip from no Python, and an index that cannot be reached from one without the wheel', async () => {
    const { libraries, env } = world();
    const bin = env['PATH'] ?? '';
    const mirror = { ...env, SIGHTLINE_LIBTORCH_MIRROR: 'http://127.0.0.1:1' };
    writeProgram(path.join(bin, 'python3'), '#!/bin/sh\necho "No module named pip" >&2\nexit 1\n');
    let outcome = await fetchScript([], mirror);
    expectRefusal(outcome, libraries);
    expect(outcome.stderr).toContain('python3 has no pip');
    writeProgram(
      path.join(bin, 'python3'),
      '#!/bin/sh\n[ "$3" = --version ] && exit 0\necho "NewConnectionError: Failed to establish a new connection" >&2\nexit 1\n',
    );
    outcome = await fetchScript([], mirror);
    expectRefusal(outcome, libraries);
    expect(outcome.stderr).toContain('pip cannot reach a Python index for torch==2.13.0');
    fakePip(bin, '/none', 'something-else');
    outcome = await fetchScript([], mirror);
    expectRefusal(outcome, libraries);
    expect(outcome.stderr).toContain('pip finds no wheel of torch==2.13.0');
  });
});
