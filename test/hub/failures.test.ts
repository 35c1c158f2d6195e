import { mkdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { join } from 'node:path';

import { describe, expect, it, onTestFinished, vi } from 'vitest';

import { pullFrom } from '../../lib/hub/pull.js';
import { HURRY, catalogCard, catalogOf, filesBelow, safetensors, sha256, useHub, vitRepository } from './fixtures.js';

const NONE = catalogOf();
const weights = safetensors(200_000);
const CUT = Math.floor(0.37 * weights.length);

/** Where the bytes of the weights collect. */
function partialOf(cache: string, bytes = weights): string {
  return join(cache, 'models--me--flowers', 'blobs', `${sha256(bytes)}.sightline.incomplete`);
}

function leftovers(cache: string): string[] {
  return filesBelow(cache).filter(
    (file) => file.includes('incomplete') || file.includes('lock') || file.includes('tmp'),
  );
}

describe('a connection that breaks', () => {
  it('at 37 % is taken up by the same pull, which asks for the rest only', async () => {
    const { hub, cache } = await useHub();
    hub.add('me/flowers', vitRepository(weights));
    let cuts = 0;
    hub.failWith(({ server }) => (server === 'cdn' && cuts++ === 0 ? { cutAfter: CUT } : undefined));
    const pulled = await pullFrom(NONE, 'me/flowers', {}, HURRY);
    expect(sha256(readFileSync(pulled.files[0]!))).toBe(sha256(weights));
    const transfers = hub.transfersOf('model.safetensors').filter(({ server }) => server === 'cdn');
    expect(transfers.map(({ headers }) => headers.range)).toEqual([undefined, `bytes=${CUT}-`]);
    expect(leftovers(cache)).toEqual([]);
  });

  it('for good leaves a partial, which the next pull completes', async () => {
    const { hub, cache } = await useHub();
    hub.add('me/flowers', vitRepository(weights));
    hub.failWith(({ server, headers }) =>
      server === 'cdn' ? { cutAfter: headers.range === undefined ? CUT : 0 } : undefined,
    );
    await expect(pullFrom(NONE, 'me/flowers', {}, HURRY)).rejects.toMatchObject({
      code: 'HUB_UNREACHABLE',
      message: expect.stringContaining(`${CUT} of ${weights.length} bytes`),
    });
    expect(statSync(partialOf(cache)).size).toBe(CUT);

    hub.failWith(() => undefined);
    const before = hub.requests.length;
    const resumed: number[] = [];
    const pulled = await pullFrom(NONE, 'me/flowers', { onProgress: (state) => resumed.push(state.resumed) }, HURRY);
    const transfers = hub.requests.slice(before).filter(({ server }) => server === 'cdn');
    expect(transfers.map(({ headers }) => headers.range)).toEqual([`bytes=${CUT}-`]);
    expect(pulled.transferred).toBe(weights.length - CUT);
    expect(resumed.at(-1)).toBe(CUT);
    expect(sha256(readFileSync(pulled.files[0]!))).toBe(sha256(weights));
    expect(leftovers(cache)).toEqual([]);
  });

  it('is no failure as long as each attempt brings something', async () => {
    const { hub } = await useHub();
    hub.add('me/flowers', vitRepository(weights));
    hub.failWith(({ server }) => (server === 'cdn' ? { cutAfter: 100_000 } : undefined));
    expect(sha256(readFileSync((await pullFrom(NONE, 'me/flowers', {}, HURRY)).files[0]!))).toBe(sha256(weights));
    expect(hub.transfersOf('model.safetensors').filter(({ server }) => server === 'cdn').length).toBeGreaterThan(
      HURRY.attempts + 2,
    );
  });

  it('and a server without ranges cost the whole again, and no more', async () => {
    const { hub } = await useHub();
    hub.add('me/flowers', vitRepository(weights));
    let requests = 0;
    hub.failWith(({ server }) =>
      server === 'cdn' ? (requests++ === 0 ? { cutAfter: CUT } : { ignoresRange: true }) : undefined,
    );
    expect(sha256(readFileSync((await pullFrom(NONE, 'me/flowers', {}, HURRY)).files[0]!))).toBe(sha256(weights));
    expect(requests).toBe(2);
  });
});

describe('a partial from before', () => {
  async function withPartial(bytes: Buffer) {
    const context = await useHub();
    context.hub.add('me/flowers', vitRepository(weights));
    mkdirSync(join(context.cache, 'models--me--flowers', 'blobs'), { recursive: true });
    writeFileSync(partialOf(context.cache), bytes);
    return context;
  }

  it('that holds other bytes is thrown away, and the file comes anew', async () => {
    const { hub } = await withPartial(Buffer.alloc(1000, 7));
    const pulled = await pullFrom(NONE, 'me/flowers', {}, HURRY);
    expect(sha256(readFileSync(pulled.files[0]!))).toBe(sha256(weights));
    expect(hub.requests.filter(({ server }) => server === 'cdn').map(({ headers }) => headers.range)).toEqual([
      'bytes=1000-',
      undefined,
    ]);
  });

  it('that is longer than the file is thrown away', async () => {
    await withPartial(Buffer.concat([weights, Buffer.alloc(9)]));
    expect(sha256(readFileSync((await pullFrom(NONE, 'me/flowers', {}, HURRY)).files[0]!))).toBe(sha256(weights));
  });

  it('that is whole already needs no transfer', async () => {
    const { hub } = await withPartial(weights);
    expect(sha256(readFileSync((await pullFrom(NONE, 'me/flowers', {}, HURRY)).files[0]!))).toBe(sha256(weights));
    expect(hub.requests.filter(({ server }) => server === 'cdn')).toEqual([]);
  });
});

describe('wrong contents', () => {
  it('are refused and removed', async () => {
    const { hub, cache } = await useHub();
    hub.add('me/flowers', vitRepository(weights));
    hub.failWith(({ server }) => (server === 'cdn' ? { corruptAt: 123_456 } : undefined));
    await expect(pullFrom(NONE, 'me/flowers', {}, HURRY)).rejects.toMatchObject({
      code: 'WRONG_HASH',
      message: expect.stringMatching(
        /^model\.safetensors of me\/flowers, as .* sent it, has the hash [0-9a-f]{64} and not [0-9a-f]{64}: it was removed; pull again/,
      ),
    });
    expect(filesBelow(cache).filter((file) => file.includes(sha256(weights)))).toEqual([]);
    expect(leftovers(cache)).toEqual([]);
  });

  it('of a small file are refused by its git hash', async () => {
    const { hub, cache } = await useHub();
    hub.add('me/flowers', vitRepository(weights));
    hub.failWith(({ url }) => (url.endsWith('/config.json') ? { corruptAt: 3 } : undefined));
    await expect(pullFrom(NONE, 'me/flowers', {}, HURRY)).rejects.toMatchObject({
      code: 'WRONG_HASH',
      message: expect.stringMatching(/^config\.json of me\/flowers/),
    });
    expect(leftovers(cache)).toEqual([]);
  });

  it('are noticed where the hub lists one file and sends another', async () => {
    const { hub, cache } = await useHub();
    hub.add('me/flowers', vitRepository(weights));
    hub.failWith(({ url, server }) => {
      // Between the listing and the transfer the repository gets other weights under the same commit.
      if (server === 'hub' && url.endsWith('/model.safetensors')) hub.add('me/flowers', vitRepository(safetensors(10)));
      return undefined;
    });
    await expect(pullFrom(NONE, 'me/flowers', {}, HURRY)).rejects.toMatchObject({
      code: expect.stringMatching(/WRONG_HASH|UNKNOWN_MODEL/),
    });
    expect(filesBelow(cache).some((file) => file.endsWith('model.safetensors'))).toBe(false);
  });

  it('are noticed against the catalog before a byte is fetched', async () => {
    const { hub } = await useHub();
    hub.add('timm/tiny', { 'model.safetensors': { lfs: weights } });
    const catalog = catalogOf(catalogCard('tiny', { sha256: sha256(safetensors(3)) }));
    await expect(pullFrom(catalog, 'tiny', {}, HURRY)).rejects.toMatchObject({
      code: 'WRONG_HASH',
      message: expect.stringContaining('where the catalog has'),
    });
    expect(hub.transfersOf('model.safetensors')).toEqual([]);
  });
});

describe('a hub that refuses', () => {
  it('a name tells that it may be private, and what is near in the catalog', async () => {
    const { hub } = await useHub();
    await expect(pullFrom(catalogOf(catalogCard('tiny')), 'me/tiny', {}, HURRY)).rejects.toMatchObject({
      code: 'HUB_REFUSED',
      message: `The hub at ${hub.endpoint} has no public repository me/tiny: check the name, or, if it is private, set HF_TOKEN to a token that may read it. Did you mean "tiny"?`,
    });
  });

  it('a name for a token that works tells that there is none', async () => {
    const { hub } = await useHub();
    vi.stubEnv('HF_TOKEN', 'hf_right');
    await expect(pullFrom(NONE, 'me/nothing', {}, HURRY)).rejects.toMatchObject({
      code: 'UNKNOWN_MODEL',
      message: `There is no repository me/nothing on the hub at ${hub.endpoint} that the token may see; check the name.`,
    });
  });

  it('a revision, a gated repository, a wrong token: a sentence each', async () => {
    const { hub } = await useHub();
    hub.add('me/flowers', vitRepository(weights), { token: 'hf_right' });
    hub.add('me/gated', vitRepository(weights), { token: 'hf_right', gated: true });
    const refusal = (name: string, revision?: string) =>
      pullFrom(NONE, name, { revision }, HURRY).then(
        () => 'nothing',
        (error: { code: string; message: string }) => `${error.code}: ${error.message}`,
      );
    expect(await refusal('me/gated')).toBe(
      'HUB_REFUSED: me/gated is gated: accept its terms on its page on the hub, then set HF_TOKEN to a token of that account.',
    );
    vi.stubEnv('HF_TOKEN', 'hf_wrong');
    expect(await refusal('me/flowers')).toBe(
      `HUB_REFUSED: The hub at ${hub.endpoint} does not accept the token in HF_TOKEN: it is mistyped, expired or revoked; make a new one, or unset it for a public repository.`,
    );
    expect(await refusal('me/gated')).toMatch(
      /^HUB_REFUSED: me\/gated is gated, and the account of the token in HF_TOKEN may not read it/,
    );
    vi.stubEnv('HF_TOKEN', 'hf_right\n');
    expect(await refusal('me/flowers', 'v9')).toBe(
      'UNKNOWN_MODEL: me/flowers has no revision "v9"; give a branch, a tag or a full commit of it.',
    );
    expect(await refusal('me/flowers')).toBe('nothing');
  });

  it('takes the token from the file in HF_HOME', async () => {
    const { hub, home } = await useHub();
    hub.add('me/private', vitRepository(weights), { token: 'hf_right' });
    writeFileSync(join(home, 'token'), 'hf_right\n');
    expect((await pullFrom(NONE, 'me/private', {}, HURRY)).transferred).toBeGreaterThan(weights.length);
  });

  it('takes no token that no header can hold, and does not show it', async () => {
    const { hub } = await useHub();
    vi.stubEnv('HF_TOKEN', 'hf_töken');
    await expect(pullFrom(NONE, 'me/flowers', {}, HURRY)).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      message: expect.stringMatching(/^The value of HF_TOKEN is no access token(?!.*hf_)/),
    });
    expect(hub.requests).toEqual([]);
  });

  it('never sends the token to another server', async () => {
    const { hub } = await useHub();
    hub.add('me/private', vitRepository(weights), { token: 'hf_right' });
    vi.stubEnv('HF_TOKEN', 'hf_right');
    await pullFrom(NONE, 'me/private', {}, HURRY);
    const toHub = hub.requests.filter(({ server }) => server === 'hub');
    const toCdn = hub.requests.filter(({ server }) => server === 'cdn');
    expect(toHub.every(({ headers }) => headers.authorization === 'Bearer hf_right')).toBe(true);
    expect(toCdn).toHaveLength(1);
    expect(JSON.stringify(toCdn)).not.toContain('hf_right');
  });
});

describe('a hub in trouble', () => {
  it('that asks for a pause gets it', async () => {
    const { hub } = await useHub();
    hub.add('me/flowers', vitRepository(weights));
    let refused = 0;
    hub.failWith(({ url }) =>
      url.includes('/revision/') && refused++ < 1 ? { status: 429, headers: { 'retry-after': '1' } } : undefined,
    );
    const began = performance.now();
    await pullFrom(NONE, 'me/flowers', {}, HURRY);
    expect(performance.now() - began).toBeGreaterThan(990);
    expect(refused).toBe(2);
  });

  it('that asks for a longer one than we wait is not kept busy', async () => {
    const { hub } = await useHub();
    hub.failWith(() => ({ status: 429, headers: { 'retry-after': '300' } }));
    await expect(pullFrom(NONE, 'me/flowers', {}, HURRY)).rejects.toMatchObject({
      code: 'HUB_REFUSED',
      message: `The hub at ${hub.endpoint} has had too many requests from this address (429): try again in 300 s, or set HF_TOKEN, which raises the limit.`,
    });
    expect(hub.requests).toHaveLength(1);
  });

  it('that keeps asking is given up after some attempts', async () => {
    const { hub } = await useHub();
    hub.failWith(() => ({ status: 429 }));
    await expect(pullFrom(NONE, 'me/flowers', {}, HURRY)).rejects.toMatchObject({
      code: 'HUB_REFUSED',
      message: expect.stringContaining('try again later'),
    });
    expect(hub.requests).toHaveLength(HURRY.attempts);
  });

  it.each([500, 502, 503])('that answers %i is asked again', async (status) => {
    const { hub } = await useHub();
    hub.add('me/flowers', vitRepository(weights));
    let failures = 0;
    hub.failWith(({ server }) => (server === 'cdn' && failures++ < 2 ? { status } : undefined));
    await pullFrom(NONE, 'me/flowers', {}, HURRY);
    hub.failWith(() => ({ status }));
    await expect(pullFrom(NONE, 'me/other', {}, HURRY)).rejects.toMatchObject({
      code: 'HUB_UNREACHABLE',
      message: expect.stringContaining(`it answered ${status} 3 times`),
    });
  });

  it('that is not there is told with its address and what to try', async () => {
    const { hub } = await useHub();
    await hub.close();
    await expect(pullFrom(NONE, 'me/flowers', {}, HURRY)).rejects.toMatchObject({
      code: 'HUB_UNREACHABLE',
      message: expect.stringMatching(
        /^The hub at http:\/\/127\.0\.0\.1:\d+ cannot be reached \(.*ECONNREFUSED.*\): check the network, set HTTPS_PROXY if there is a proxy, or HF_ENDPOINT to a mirror\.$/,
      ),
    });
  });

  it('whose name does not exist is asked once', async () => {
    await useHub();
    vi.stubEnv('HF_ENDPOINT', 'http://hub.invalid');
    await expect(pullFrom(NONE, 'me/flowers', {}, HURRY)).rejects.toMatchObject({
      code: 'HUB_UNREACHABLE',
      message: expect.stringMatching(/hub\.invalid.*(ENOTFOUND|EAI_AGAIN)/),
    });
  });

  it.each(['nonsense', 'ftp://somewhere', 'http://me:secret@somewhere'])(
    'whose address is %s is refused',
    async (address) => {
      await useHub();
      vi.stubEnv('HF_ENDPOINT', address);
      await expect(pullFrom(NONE, 'me/flowers', {}, HURRY)).rejects.toMatchObject({
        code: 'INVALID_OPTION',
        message: expect.stringMatching(/^HF_ENDPOINT (?!.*secret)/),
      });
    },
  );
});

describe('a cache that cannot be written', () => {
  it('is told with what to do', async () => {
    const { hub, home } = await useHub();
    hub.add('me/flowers', vitRepository(weights));
    writeFileSync(join(home, 'hub'), 'a file, where a folder should be');
    await expect(pullFrom(NONE, 'me/flowers', {}, HURRY)).rejects.toMatchObject({
      code: 'CACHE_NOT_WRITABLE',
      message: expect.stringMatching(
        /^The cache .*hub cannot be written \(.*\): correct its permissions, or set HF_HUB_CACHE/,
      ),
    });
  });
});

describe('cancelling', () => {
  it('keeps what has arrived', async () => {
    const { hub, cache } = await useHub();
    hub.add('me/flowers', vitRepository(weights));
    hub.failWith(({ server }) => (server === 'cdn' ? { piece: 40_000, pauseMs: 20 } : undefined));
    const stop = new AbortController();
    const cancelled = pullFrom(
      NONE,
      'me/flowers',
      {
        signal: stop.signal,
        onProgress: ({ file, done }) => void (file === 'model.safetensors' && done >= 120_000 && stop.abort()),
      },
      HURRY,
    );
    const error: unknown = await cancelled.catch((reason: unknown) => reason);
    // Read after the end: before it, the signal has no reason.
    expect(error).toMatchObject({
      name: 'AbortError',
      code: 'ABORTED',
      cause: stop.signal.reason as unknown,
      message: 'The pull was aborted. All that has arrived is kept, and the next pull goes on from there.',
    });
    const arrived = statSync(partialOf(cache)).size;
    expect(arrived).toBeGreaterThanOrEqual(120_000);
    expect(filesBelow(cache).some((file) => file.endsWith('.lock'))).toBe(false);
    hub.failWith(() => undefined);
    expect((await pullFrom(NONE, 'me/flowers', {}, HURRY)).transferred).toBe(weights.length - arrived);
  });

  it('ends a pause that the hub asked for', async () => {
    const { hub } = await useHub();
    hub.failWith(() => ({ status: 429, headers: { 'retry-after': '60' } }));
    const began = performance.now();
    await expect(
      pullFrom(NONE, 'me/flowers', { signal: AbortSignal.timeout(200) }, { ...HURRY, longestWaitMs: 90_000 }),
    ).rejects.toMatchObject({ code: 'ABORTED' });
    expect(performance.now() - began).toBeLessThan(60_000);
  });
});

describe('a proxy', () => {
  /** One that opens tunnels and counts them; it forwards plain requests too. */
  async function startProxy() {
    const seen: string[] = [];
    const proxy = createServer((request, response) => {
      seen.push(`${request.method} ${request.url}`);
      void fetch(request.url!, { headers: { range: request.headers.range ?? '' }, redirect: 'manual' }).then(() =>
        response.end(),
      );
    });
    proxy.on('connect', (request, socket) => {
      seen.push(`CONNECT ${request.url}`);
      const [host, port] = request.url!.split(':');
      const upstream = connect(Number(port), host, () => {
        socket.write('HTTP/1.1 200 OK\r\n\r\n');
        upstream.pipe(socket).pipe(upstream);
      });
      upstream.on('error', () => socket.destroy());
      socket.on('error', () => upstream.destroy());
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => {
      proxy.closeAllConnections();
      proxy.close();
    });
    return { seen, address: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}` };
  }

  it('is used, and NO_PROXY is obeyed', async () => {
    const { hub } = await useHub();
    hub.add('me/flowers', vitRepository(weights));
    const { seen, address } = await startProxy();
    vi.stubEnv('HTTP_PROXY', address);
    vi.stubEnv('NO_PROXY', '127.0.0.1');
    await pullFrom(NONE, 'me/flowers', {}, HURRY);
    expect(seen).toEqual([]);
    vi.stubEnv('NO_PROXY', '');
    hub.add('me/flowers', vitRepository(safetensors(77)));
    await pullFrom(NONE, 'me/flowers', {}, HURRY);
    expect(seen).toEqual(
      expect.arrayContaining([`CONNECT ${hub.endpoint.slice(7)}`, `CONNECT ${hub.contentNetwork.slice(7)}`]),
    );
  });

  it('that is no address is refused', async () => {
    await useHub();
    vi.stubEnv('HTTPS_PROXY', 'proxy:3128 please');
    await expect(pullFrom(NONE, 'me/flowers', {}, HURRY)).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      message: expect.stringContaining('HTTPS_PROXY or HTTP_PROXY is no address'),
    });
  });
});

it('a file whose size on the hub is larger than what comes is never taken for whole', async () => {
  const { hub, cache } = await useHub();
  hub.add('me/flowers', vitRepository(weights));
  hub.failWith(({ server, headers }) =>
    server === 'cdn' ? (headers.range === undefined ? { cutAfter: CUT } : { status: 416 }) : undefined,
  );
  await expect(pullFrom(NONE, 'me/flowers', {}, HURRY)).rejects.toMatchObject({ code: 'HUB_UNREACHABLE' });
  truncateSync(partialOf(cache), 10);
  hub.failWith(() => undefined);
  expect(sha256(readFileSync((await pullFrom(NONE, 'me/flowers', {}, HURRY)).files[0]!))).toBe(sha256(weights));
});
