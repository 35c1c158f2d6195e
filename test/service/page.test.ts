import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';

import { describeMethod, type Model } from '../../lib/index.js';
import { pageFiles } from '../../lib/service/page.js';
import { useBuiltCommand } from '../cli/command.js';
import { asJson, load, photo, postJson, serve, type Served } from './support.js';

let vit: Model;
let served: Served;
const image = { b64: photo('cat.jpg').toString('base64') };
const html = { headers: { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' } };

useBuiltCommand();
beforeAll(async () => {
  vit = await load('vit-tiny-shapes');
  served = await serve({ models: { vit }, token: 'a-token-of-20-letters' });
});
afterAll(async () => {
  await served.stop();
  await vit.close();
});

describe('the page’s files', () => {
  it('are open to whoever has no token yet, and the models behind them are not', async () => {
    const page = await fetch(`${served.address}/`, html);
    expect(page.status).toBe(200);
    const files = [...(await page.text()).matchAll(/(?:src|href)="\.\/(page\/[^"]+)"/g)].map(([, file]) => file!);
    expect(files).toHaveLength(3);
    for (const file of files) {
      const answer = await fetch(`${served.address}/${file}`);
      expect([answer.status, answer.headers.get('x-content-type-options')]).toEqual([200, 'nosniff']);
    }
    expect((await fetch(`${served.address}/models`)).status).toBe(401);
    expect((await fetch(`${served.address}/methods`)).status).toBe(401);
  });

  it('are all that there is: no name leads elsewhere', async () => {
    for (const name of ['..%2findex.js', '%2e%2e%2findex.js', 'package.json', '.', 'index.html%00', '__proto__']) {
      expect((await fetch(`${served.address}/page/${name}`)).status).toBe(404);
    }
    expect(pageFiles().has('cat.jpg')).toBe(true);
  });

  it('are left out where the service is to have no page', async () => {
    const bare = await serve({ models: { vit }, page: false });
    onTestFinished(bare.stop);
    expect(await (await fetch(`${bare.address}/`, html)).json()).toEqual({ status: 'alive' });
    expect((await fetch(`${bare.address}/page/index.html`)).status).toBe(404);
  });
});

describe('what the page asks', () => {
  it('tells of models and methods what the library does', async () => {
    const open = await serve({ models: { vit }, methods: ['gae', 'cam'] });
    onTestFinished(open.stop);
    const { methods } = (await (await fetch(`${open.address}/methods`)).json()) as { methods: { name: string }[] };
    expect(methods).toEqual((['gae', 'cam'] as const).map((name) => asJson(describeMethod(name))));
    const { models } = (await (await fetch(`${open.address}/models`)).json()) as { models: Record<string, unknown>[] };
    const inspection = await vit.inspect();
    expect(models).toMatchObject([
      {
        name: 'vit',
        labels: vit.labels,
        input: vit.card.input,
        tokens: inspection.tokens,
        preferred: 'attention-rollout',
        methods: inspection.methods
          .filter(({ name }) => name === 'gae' || name === 'cam')
          .map(({ name, applies, reason }) => ({ name, reason: applies ? null : reason })),
      },
    ]);
  });

  it('gives attention by block, head and channel as the library does', async () => {
    const open = await serve({ models: { vit } });
    onTestFinished(open.stop);
    const options = { of: 'key', block: 2, head: 1, contrast: 'sigmoid' } as const;
    const answer = (await (await postJson(`${open.address}/attention`, { image, ...options })).json()) as {
      shape: number[];
      maps: object[];
      data: number[];
    };
    const maps = await vit.attention(photo('cat.jpg'), options);
    expect(answer.shape).toEqual([32, 14, 14]);
    expect(answer.maps).toEqual(maps.map(({ block, head, channel }) => ({ block, head, channel })));
    expect(answer.data).toEqual(maps.flatMap(({ data }) => [...data]));
  });

  it.each([
    ['more numbers than the limit', { of: 'value' }, 422, 'LIMIT_EXCEEDED'],
    ['a block that there is not', { block: 6 }, 400, 'INVALID_OPTION'],
    ['a head that there is not, of whole rows', { block: 0, head: 4, rows: 'all' }, 400, 'INVALID_OPTION'],
    ['whole rows of all blocks', { rows: 'all' }, 400, 'INVALID_REQUEST'],
    ['an option that it does not have', { layer: 'x' }, 400, 'INVALID_OPTION'],
    ['channels of probabilities', { channel: 0 }, 400, 'INVALID_OPTION'],
  ])('refuses %s', async (_name, asked, status, code) => {
    const open = await serve({ models: { vit }, limits: { maxValues: 100_000 } });
    onTestFinished(open.stop);
    const answer = await postJson(`${open.address}/attention`, { image, ...asked });
    expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([status, code]);
  });
});
