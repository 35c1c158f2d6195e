import { existsSync, lstatSync, mkdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, it, vi } from 'vitest';

import { findPulledIn } from '../../lib/hub/find.js';
import { pullFrom, type PullProgress } from '../../lib/hub/pull.js';
import {
  HURRY,
  VIT_CONFIG,
  VIT_PREPROCESSOR,
  catalogCard,
  catalogOf,
  filesBelow,
  safetensors,
  sha256,
  temporaryFolder,
  useHub,
  vitRepository,
} from './fixtures.js';

const NONE = catalogOf();

/** The one file of that name below a folder. */
function findFile(folder: string, name: string): string {
  return join(
    folder,
    filesBelow(folder).find((file) => file.endsWith(`/${name}`))!,
  );
}

const weights = safetensors(50_000);

describe('pull', () => {
  it("brings a repository into the hub's layout and reads its card", async () => {
    const { hub, cache } = await useHub();
    const commit = hub.add('me/flowers', vitRepository(weights));
    const progress: PullProgress[] = [];
    const pulled = await pullFrom(NONE, 'me/flowers', { onProgress: (state) => progress.push(state) }, HURRY);

    const folder = join(cache, 'models--me--flowers');
    expect(pulled.files).toEqual([join(folder, 'snapshots', commit, 'model.safetensors')]);
    expect(sha256(readFileSync(pulled.files[0]!))).toBe(sha256(weights));
    expect(readlinkSync(pulled.files[0]!)).toBe(`../../blobs/${sha256(weights)}`);
    expect(readFileSync(join(folder, 'refs', 'main'), 'utf8')).toBe(commit);
    expect(pulled).toMatchObject({
      commit,
      transferred: weights.length + VIT_CONFIG.length + VIT_PREPROCESSOR.length,
      notes: [],
    });
    expect(pulled.card).toMatchObject({
      name: 'me/flowers',
      architecture: 'vit_small_patch16',
      labels: ['rose', 'tulip', 'daisy'],
      weights: {
        repository: 'me/flowers',
        file: 'model.safetensors',
        revision: 'main',
        naming: 'huggingface',
        layerNormEps: 1e-12,
      },
      input: {
        width: 224,
        height: 224,
        resize: { mode: 'exact', size: [224, 224] },
        crop: 'none',
        interpolation: 'bilinear',
        mean: [0.5, 0.5, 0.5],
      },
    });
    // Nothing is left behind: no partial, no lock, no temporary link.
    expect(
      filesBelow(cache).filter(
        (file) => !/^models--me--flowers\/(blobs\/[0-9a-f]+|snapshots\/[0-9a-f]{40}\/[\w.]+|refs\/main)$/.test(file),
      ),
    ).toEqual([]);
    expect(progress.at(-1)).toEqual({
      file: 'model.safetensors',
      done: weights.length,
      total: weights.length,
      resumed: 0,
    });
    expect(progress.filter(({ file }) => file === 'model.safetensors').map(({ done }) => done)).toEqual(
      [...progress.filter(({ file }) => file === 'model.safetensors').map(({ done }) => done)].sort((a, b) => a - b),
    );
  });

  it('fetches nothing twice, and only what changed of a new commit', async () => {
    const { hub } = await useHub();
    hub.add('me/flowers', vitRepository(weights));
    await pullFrom(NONE, 'me/flowers', {}, HURRY);
    expect((await pullFrom(NONE, 'me/flowers', {}, HURRY)).transferred).toBe(0);

    const second = hub.add('me/flowers', {
      ...vitRepository(weights),
      'config.json': VIT_CONFIG.replace('rose', 'peony'),
    });
    const again = await pullFrom(NONE, 'me/flowers', {}, HURRY);
    expect(again).toMatchObject({
      commit: second,
      transferred: VIT_CONFIG.length + 1,
      card: { labels: ['peony', 'tulip', 'daisy'] },
    });
    expect(hub.transfersOf('model.safetensors').filter(({ server }) => server === 'cdn')).toHaveLength(1);
  });

  it('fetches by the catalog, which needs nothing but the weights', async () => {
    const { hub } = await useHub();
    hub.add('timm/tiny', { 'model.safetensors': { lfs: weights }, 'README.md': 'hello' });
    const catalog = catalogOf(catalogCard('tiny', { sha256: sha256(weights) }));
    expect(await findPulledIn(catalog, 'tiny')).toBeNull();
    const pulled = await pullFrom(catalog, 'tiny', {}, HURRY);
    expect(pulled).toMatchObject({ card: { name: 'tiny', architecture: 'test_vit' }, transferred: weights.length });
    expect(await findPulledIn(catalog, 'tiny')).toEqual({
      card: pulled.card,
      files: pulled.files,
      commit: pulled.commit,
    });
    expect(hub.requests.some(({ url }) => url.endsWith('README.md'))).toBe(false);
  });

  it('asks the hub nothing for a commit that is here, and works offline then', async () => {
    const { hub } = await useHub();
    const commit = hub.add('me/flowers', vitRepository(weights));
    await pullFrom(NONE, 'me/flowers', { revision: commit }, HURRY);
    const asked = hub.requests.length;
    expect(await pullFrom(NONE, 'me/flowers', { revision: commit }, HURRY)).toMatchObject({ commit, transferred: 0 });
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    expect(await findPulledIn(NONE, 'me/flowers', { revision: commit })).toMatchObject({ commit });
    // The only commit that is here needs no branch; a branch that was asked for is not guessed.
    expect(await pullFrom(NONE, 'me/flowers', {}, HURRY)).toMatchObject({ commit, transferred: 0 });
    await expect(pullFrom(NONE, 'me/flowers', { revision: 'main' }, HURRY)).rejects.toMatchObject({
      code: 'NOT_PULLED',
      message: expect.stringMatching(/^me\/flowers@main is not on this machine, and HF_HUB_OFFLINE is set/),
    });
    expect(hub.requests).toHaveLength(asked);
  });

  it('uses what is here when the hub cannot be reached, and says so', async () => {
    const { hub } = await useHub();
    hub.add('me/flowers', vitRepository(weights));
    await pullFrom(NONE, 'me/flowers', {}, HURRY);
    hub.failWith(() => ({ status: 503 }));
    expect(await pullFrom(NONE, 'me/flowers', {}, HURRY)).toMatchObject({
      transferred: 0,
      notes: [expect.stringMatching(/^The copy of me\/flowers in the cache is used: The hub .* cannot be reached/)],
    });
  });

  it('brings all parts of sharded weights', async () => {
    const { hub } = await useHub();
    const parts = {
      'model-00001-of-00002.safetensors': safetensors(500, 2),
      'model-00002-of-00002.safetensors': safetensors(600, 3),
    };
    const index = JSON.stringify({
      metadata: {},
      weight_map: {
        b: 'model-00002-of-00002.safetensors',
        a: 'model-00001-of-00002.safetensors',
        c: 'model-00002-of-00002.safetensors',
      },
    });
    const lfs = Object.fromEntries(Object.entries(parts).map(([name, bytes]) => [name, { lfs: bytes }]));
    hub.add('me/large', {
      'config.json': VIT_CONFIG,
      'preprocessor_config.json': VIT_PREPROCESSOR,
      'model.safetensors.index.json': index,
      ...lfs,
    });
    const { files, card } = await pullFrom(NONE, 'me/large', {}, HURRY);
    expect(files.map((file) => readFileSync(file))).toEqual(Object.values(parts));
    expect(card.weights.file).toBe('model.safetensors.index.json');
    expect((await findPulledIn(NONE, 'me/large'))?.files).toEqual(files);
  });

  it('asks the hub where what is here cannot be loaded, since that may be mended by now', async () => {
    const { hub, home } = await useHub();
    hub.add('me/flowers', vitRepository(weights));
    await pullFrom(NONE, 'me/flowers', {}, HURRY);
    const old = findFile(home, 'config.json');
    rmSync(old);
    writeFileSync(old, VIT_CONFIG.replace('"gelu"', '"relu"'));
    await expect(findPulledIn(NONE, 'me/flowers')).rejects.toMatchObject({
      code: 'UNSUPPORTED_MODEL',
      details: { field: 'hidden_act' },
    });
    hub.add('me/flowers', { ...vitRepository(weights), 'config.json': VIT_CONFIG.replace('rose', 'peony') });
    expect((await pullFrom(NONE, 'me/flowers', {}, HURRY)).card.labels).toEqual(['peony', 'tulip', 'daisy']);
  });

  it('copies where links are not wanted', async () => {
    const { hub } = await useHub();
    hub.add('me/flowers', vitRepository(weights));
    vi.stubEnv('HF_HUB_DISABLE_SYMLINKS', '1');
    const { files } = await pullFrom(NONE, 'me/flowers', {}, HURRY);
    expect(lstatSync(files[0]!).isFile()).toBe(true);
    expect((await findPulledIn(NONE, 'me/flowers'))?.files).toEqual(files);
    expect((await pullFrom(NONE, 'me/flowers', {}, HURRY)).transferred).toBe(0);
  });

  it('follows a repository that was renamed', async () => {
    const { hub } = await useHub();
    hub.add('new/flowers', vitRepository(weights));
    hub.rename('old/flowers', 'new/flowers');
    expect(sha256(readFileSync((await pullFrom(NONE, 'old/flowers', {}, HURRY)).files[0]!))).toBe(sha256(weights));
  });

  it.each([
    ['../../etc', 'UNKNOWN_MODEL', 'no repository of the form org/name'],
    ['a/../b', 'UNKNOWN_MODEL', 'no repository of the form org/name'],
    ['/etc/passwd', 'UNKNOWN_MODEL', 'no repository of the form org/name'],
    ['a--b/c', 'UNKNOWN_MODEL', 'no repository of the form org/name'],
    ['tini', 'UNKNOWN_MODEL', 'Did you mean "tiny"?'],
  ])('refuses the name %s', async (name, code, message) => {
    const { hub, home } = await useHub();
    await expect(pullFrom(catalogOf(catalogCard('tiny')), name, {}, HURRY)).rejects.toMatchObject({
      code,
      message: expect.stringContaining(message),
    });
    expect([hub.requests, filesBelow(home)]).toEqual([[], []]);
  });

  it.each(['../main', 'a/../../b', '/main', 'refs//x', '.hidden', 'a..b'])(
    'refuses the revision %s',
    async (revision) => {
      const { hub, home } = await useHub();
      await expect(pullFrom(NONE, 'me/flowers', { revision }, HURRY)).rejects.toMatchObject({
        code: 'INVALID_OPTION',
        message: expect.stringContaining('is no revision'),
      });
      expect([hub.requests, filesBelow(home)]).toEqual([[], []]);
    },
  );

  it('writes nothing outside of the cache, whatever a server lists', async () => {
    const { hub, home } = await useHub();
    const index = (part: string) => ({
      'config.json': VIT_CONFIG,
      'preprocessor_config.json': VIT_PREPROCESSOR,
      'model.safetensors.index.json': JSON.stringify({ weight_map: { a: part } }),
    });
    for (const part of [
      '../../../../escaped.safetensors',
      '/tmp/escaped.safetensors',
      'C:\\escaped.safetensors',
      'sub/x.safetensors',
    ]) {
      hub.add('evil/one', index(part));
      await expect(pullFrom(NONE, 'evil/one', {}, HURRY)).rejects.toMatchObject({
        code: 'INVALID_CARD',
        message: expect.stringContaining('no .safetensors file beside it'),
      });
    }
    hub.failWith(({ url }) =>
      url.includes('/revision/')
        ? {
            status: 200,
            headers: { 'content-type': 'application/json' },
            body: JSON.stringify({ sha: '../../../escaped' }),
          }
        : undefined,
    );
    await expect(pullFrom(NONE, 'evil/two', {}, HURRY)).rejects.toMatchObject({
      code: 'HUB_REFUSED',
      message: expect.stringContaining('names the commit "../../../escaped"'),
    });
    const listing = [{ type: 'file', path: 'config.json', size: 5, oid: '../../../../escaped' }];
    hub.failWith(({ url }) =>
      url.includes('/paths-info/')
        ? { status: 200, headers: { 'content-type': 'application/json' }, body: JSON.stringify(listing) }
        : undefined,
    );
    await expect(pullFrom(NONE, 'evil/one', {}, HURRY)).rejects.toMatchObject({
      code: 'HUB_REFUSED',
      message: expect.stringContaining('lists "config.json"'),
    });
    expect(
      filesBelow(home).filter((file) => file.includes('escaped') || !file.startsWith('hub/models--evil--')),
    ).toEqual([]);
  });

  it('tells what is no hub', async () => {
    const { hub } = await useHub();
    hub.failWith(() => ({
      status: 200,
      headers: { 'content-type': 'text/html' },
      body: '<html>Welcome to the hotel</html>',
    }));
    await expect(pullFrom(NONE, 'me/flowers', {}, HURRY)).rejects.toMatchObject({
      code: 'HUB_REFUSED',
      message: expect.stringMatching(
        /does not answer as a hub does for me\/flowers: check that HF_ENDPOINT is the address of a hub/,
      ),
    });
  });
});

describe('a local file', () => {
  it("becomes a catalog model's weights, if the hash is right", async () => {
    const { hub, cache } = await useHub();
    const folder = temporaryFolder();
    const file = join(folder, 'downloaded.safetensors');
    writeFileSync(file, weights);
    const catalog = catalogOf(catalogCard('tiny', { sha256: sha256(weights) }));
    const pulled = await pullFrom(catalog, 'tiny', { fromFile: file }, HURRY);
    expect(sha256(readFileSync(pulled.files[0]!))).toBe(sha256(weights));
    expect(pulled.files[0]!.startsWith(join(cache, 'models--timm--tiny', 'snapshots'))).toBe(true);
    expect(await findPulledIn(catalog, 'tiny')).toMatchObject({ files: pulled.files });
    expect(hub.requests).toEqual([]);

    // What the hub has then costs no second transfer.
    hub.add('timm/tiny', { 'model.safetensors': { lfs: weights } });
    expect((await pullFrom(catalog, 'tiny', {}, HURRY)).transferred).toBe(0);

    writeFileSync(file, safetensors(10));
    await expect(pullFrom(catalog, 'tiny', { fromFile: file }, HURRY)).rejects.toMatchObject({
      code: 'WRONG_HASH',
      message: expect.stringContaining('is not the file that the catalog means by tiny'),
    });
  });

  it('becomes a repository of its own, with the config beside it', async () => {
    const { hub } = await useHub();
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'model.safetensors'), weights);
    await expect(
      pullFrom(NONE, 'me/mine', { fromFile: join(folder, 'model.safetensors') }, HURRY),
    ).rejects.toMatchObject({
      code: 'FILE_NOT_FOUND',
      message: expect.stringContaining('There is no config.json beside'),
    });
    writeFileSync(join(folder, 'config.json'), VIT_CONFIG);
    writeFileSync(join(folder, 'preprocessor_config.json'), VIT_PREPROCESSOR);
    const pulled = await pullFrom(NONE, 'me/mine', { fromFile: join(folder, 'model.safetensors') }, HURRY);
    expect(pulled.card).toMatchObject({
      name: 'me/mine',
      architecture: 'vit_small_patch16',
      labels: ['rose', 'tulip', 'daisy'],
    });
    expect(await findPulledIn(NONE, 'me/mine')).toMatchObject({ files: pulled.files });
    expect(hub.requests).toEqual([]);
  });

  it('must be safetensors', async () => {
    await useHub();
    const folder = temporaryFolder();
    const catalog = catalogOf(catalogCard('tiny'));
    for (const [name, bytes] of Object.entries({
      'pickle.bin': Buffer.from('PK\x03\x04 and so on'),
      'short.safetensors': weights.subarray(0, 20),
      'empty.safetensors': Buffer.alloc(0),
    })) {
      writeFileSync(join(folder, name), bytes);
      await expect(pullFrom(catalog, 'tiny', { fromFile: join(folder, name) }, HURRY)).rejects.toMatchObject({
        code: 'INVALID_OPTION',
        message: expect.stringContaining('is no safetensors file'),
      });
    }
    await expect(pullFrom(catalog, 'tiny', { fromFile: join(folder, 'nothing') }, HURRY)).rejects.toMatchObject({
      code: 'FILE_NOT_FOUND',
    });
    await expect(pullFrom(catalog, 'tiny', { fromFile: folder }, HURRY)).rejects.toMatchObject({ code: 'NOT_A_FILE' });
  });
});

describe('findPulled', () => {
  it('passes over a snapshot that is not whole', async () => {
    const { hub, cache } = await useHub();
    const commit = hub.add('me/flowers', vitRepository(weights));
    await pullFrom(NONE, 'me/flowers', {}, HURRY);
    rmSync(join(cache, 'models--me--flowers', 'blobs', sha256(weights)));
    expect(existsSync(join(cache, 'models--me--flowers', 'snapshots', commit))).toBe(true);
    expect(await findPulledIn(NONE, 'me/flowers')).toBeNull();
    expect((await pullFrom(NONE, 'me/flowers', {}, HURRY)).transferred).toBe(weights.length);
  });

  it('knows nothing of names that stand for nothing', async () => {
    await useHub();
    for (const name of ['nothing', '../../etc/passwd', 'a/b/c', '']) expect(await findPulledIn(NONE, name)).toBeNull();
    await expect(findPulledIn(NONE, 'me/flowers', { revision: '../x' })).rejects.toMatchObject({
      code: 'INVALID_OPTION',
    });
  });

  it('passes over a ref that is no commit', async () => {
    const { cache } = await useHub();
    mkdirSync(join(cache, 'models--me--flowers', 'refs'), { recursive: true });
    writeFileSync(join(cache, 'models--me--flowers', 'refs', 'main'), '../../../etc');
    expect(await findPulledIn(NONE, 'me/flowers')).toBeNull();
  });

  it("does not take another file for the catalog's", async () => {
    const { hub } = await useHub();
    hub.add('timm/tiny', { 'model.safetensors': { lfs: weights } });
    await pullFrom(catalogOf(catalogCard('tiny')), 'tiny', {}, HURRY);
    expect(await findPulledIn(catalogOf(catalogCard('tiny', { sha256: sha256(weights) })), 'tiny')).not.toBeNull();
    expect(await findPulledIn(catalogOf(catalogCard('tiny', { sha256: sha256(safetensors(3)) })), 'tiny')).toBeNull();
  });
});
