import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

import { describe, expect, it } from 'vitest';

import { ROOT, useBuiltCommand } from '../cli/command.js';

useBuiltCommand();

/** What a program that has the package prints; Node finds a package's own name too. */
async function printed(program: string, type: 'module' | 'commonjs'): Promise<unknown> {
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [`--input-type=${type}`, '-e', program], {
    cwd: ROOT,
  });
  expect(stderr).toBe('');
  return JSON.parse(stdout) as unknown;
}

describe.each(['module', 'commonjs'] as const)('of a program of type %s', (type) => {
  const load = (names: string, from: string): string =>
    type === 'module' ? `import { ${names} } from '${from}';` : `const { ${names} } = require('${from}');`;

  it('sightline/bench gives the benchmark, sightline does not', async () => {
    const namespace = type === 'module' ? "import * as main from 'sightline';" : "const main = require('sightline');";
    expect(
      await printed(
        `${namespace} ${load('bench', 'sightline/bench')} console.log(JSON.stringify([typeof bench, 'bench' in main]));`,
        type,
      ),
    ).toEqual(['function', false]);
  });

  it('sightline gives z, by which a method says what its options are', async () => {
    const program = `${load('defineMethod, describeMethod, z, symbolic', 'sightline')}
      const method = defineMethod({ name: 'mine', options: z.strictObject({ share: z.number().default(0.5) }), usesLayer: false, isClassSpecific: false, reasonAgainst: () => null, map: ({ model }) => symbolic.mean(model.image, 'channels') });
      console.log(JSON.stringify(describeMethod(method).defaults));`;
    expect(await printed(program, type)).toEqual({ share: 0.5 });
  });

  it('sightline/http and sightline/fastify give the service; sightline loads nothing of it', async () => {
    const namespace = type === 'module' ? "import * as main from 'sightline';" : "const main = require('sightline');";
    const loaded = `Object.keys(require.cache).filter((file) => /node_modules.(prom-client|fastify|pino)./.test(file)).length`;
    const withRequire =
      type === 'module'
        ? "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);"
        : '';
    expect(
      await printed(
        `${withRequire} ${namespace} console.log(JSON.stringify([${loaded}, 'createService' in main]));`,
        type,
      ),
    ).toEqual([0, false]);
    const service = `${load('createService, nodeHandler', 'sightline/http')} ${load('sightline', 'sightline/fastify')}`;
    expect(
      await printed(
        `${withRequire} ${service} console.log(JSON.stringify([typeof createService, typeof nodeHandler, typeof sightline, ${loaded} > 0]));`,
        type,
      ),
    ).toEqual(['function', 'function', 'function', true]);
  });

  it('both are one package: an error of one is an error of the other', async () => {
    const program = `${load('bench', 'sightline/bench')} ${load('SightlineError', 'sightline')} bench({}).catch((error) => console.log(JSON.stringify([error instanceof SightlineError, error.code])));`;
    expect(await printed(program, type)).toEqual([true, 'INVALID_OPTION']);
  });
});
