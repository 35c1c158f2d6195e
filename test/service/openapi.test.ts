import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';

import { describeMethod, METHOD_NAMES, type Model } from '../../lib/index.js';
import { ROUTES } from '../../lib/service/routes.js';
import { load, photo, serve, type Served } from './support.js';

let model: Model;
let vit: Model;
let served: Served;
const cat = photo('cat.jpg');
beforeAll(async () => {
  [model, vit] = await Promise.all([load('resnet-tiny-shapes'), load('vit-tiny-shapes')]);
  served = await serve({ models: { resnet: model, vit }, repository: true });
});
afterAll(async () => {
  await served.stop();
  await Promise.all([model.close(), vit.close()]);
});

type Schema = Parameters<typeof z.fromJSONSchema>[0];
interface Documented {
  readonly responses: Record<string, { readonly content: Record<string, { readonly schema: Schema }> }>;
  readonly requestBody?: { readonly content: Record<string, unknown> };
}
interface Document {
  readonly paths: Record<string, Record<string, Documented>>;
  readonly components: { readonly schemas: Record<string, { readonly properties: Record<string, unknown> }> };
}
const document = async (): Promise<Document> =>
  (await (await fetch(`${served.address}/openapi.json`)).json()) as Document;

/** A good and a bad body for each route that takes one. */
const instances = [{ b64: cat.toString('base64') }];
const image = { name: 'image', shape: [1], datatype: 'BYTES', data: [cat.toString('base64')] };
const bodies = (id: string): readonly (readonly [object | null, number])[] => {
  if (id === 'explain') {
    return [
      [{ image: instances[0], method: 'grad-cam' }, 200],
      [{ image: 'x' }, 400],
    ];
  }
  if (id === 'attention') {
    return [
      [{ image: instances[0], model: 'vit' }, 200],
      [{ image: instances[0], model: 'resnet' }, 422],
    ];
  }
  if (id === 'maximize') {
    return [
      [{ class: 1, steps: 8 }, 200],
      [{ class: 'none' }, 400],
    ];
  }
  if (id === 'v1Predict') {
    return [
      [{ instances }, 200],
      [{ instances: {} }, 400],
    ];
  }
  if (id === 'v1Explain') {
    return [
      [{ instances }, 200],
      [{ instances, method: 'attention-rollout' }, 422],
    ];
  }
  if (/^v2(Infer|Explain)/.test(id)) {
    return [
      [{ id: '1', inputs: [image] }, 200],
      [{ inputs: [] }, 400],
    ];
  }
  return [[null, 200]];
};

describe('the OpenAPI document', () => {
  it('has every route, and no other', async () => {
    const { paths } = await document();
    const documented = Object.entries(paths).flatMap(([path, verbs]) =>
      Object.keys(verbs).map((verb) => `${verb.toUpperCase()} ${path}`),
    );
    expect(documented.sort()).toEqual(ROUTES.map(({ method, path }) => `${method} ${path}`).sort());
  });

  it.each(ROUTES.map((route) => [`${route.method} ${route.path}`, route] as const))(
    '%s answers what it says',
    async (_name, route) => {
      const { paths, components } = await document();
      const operation = paths[route.path]![route.method.toLowerCase()]!;
      const url =
        served.address +
        route.path.replace('{model}', 'resnet').replace('{version}', '1').replace('{file}', 'icon.svg');
      for (const [body, status] of bodies(route.id)) {
        const response = await fetch(url, {
          method: route.method,
          ...(body !== null && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
        });
        expect(response.status).toBe(status);
        const type = response.headers.get('content-type')!.split(';')[0]!;
        const { schema } = operation.responses[status]!.content[type]!;
        const isLines = type === 'application/x-ndjson';
        if (type !== 'application/json' && !isLines) continue;
        const answers = (isLines ? (await response.text()).trimEnd().split('\n') : [await response.text()]).map(
          (text) => JSON.parse(text) as unknown,
        );
        const whole = { ...(schema as object), components } as Schema;
        const inlined = JSON.parse(
          JSON.stringify(whole).replace(
            /\{"\$ref":"#\/components\/schemas\/Error"\}/g,
            JSON.stringify(components.schemas['Error']),
          ),
        ) as Schema;
        const own = '$ref' in (schema as object) ? (components.schemas['Error'] as unknown as Schema) : inlined;
        for (const answer of answers) {
          const parsed = z.fromJSONSchema(own).safeParse(answer);
          expect(parsed.error?.issues ?? []).toEqual([]);
        }
        expect(z.fromJSONSchema(own).safeParse({ other: 1 }).success).toBe(route.id === 'openapi');
      }
    },
  );

  it('has the options that the library checks, with their ranges and defaults', async () => {
    const { components } = await document();
    for (const name of METHOD_NAMES) {
      const { options, commonOptions } = describeMethod(name);
      const { score, ...common } = commonOptions.properties as Record<string, { readonly description?: string }>;
      // The library's may be a function, which no request can hold.
      const named = score && { score: { enum: ['logit', 'probability'], description: score.description } };
      expect(components.schemas[name]!.properties).toEqual(
        JSON.parse(JSON.stringify({ method: { const: name }, ...common, ...named, ...options.properties })),
      );
    }
    expect(components.schemas['rise']!.properties['masks']).toMatchObject({
      type: 'integer',
      minimum: 1,
      default: 4000,
    });
  });
});
