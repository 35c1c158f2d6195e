import { fileURLToPath } from 'node:url';

import { defineConfig } from 'vitest/config';

// `npm run test:gpu` runs the tests that need a GPU, `npm run test:device` those on the emulated device, which a GPU
// passes as well; `npm test` runs all the others.
const gpu = process.env['SIGHTLINE_GPU'] === '1';
const device = gpu || process.env['SIGHTLINE_DEVICE'] === '1';
const ON_DEVICE = ['test/device/**/*.test.ts'];
const ON_GPU = ['test/gpu/**/*.test.ts'];

export default defineConfig({
  // The examples name the package as its users do: this is the built one.
  resolve: {
    // The longer name first: an alias stands for what begins with it too.
    alias: [
      ['sightline/bench', 'bench/index'],
      ['sightline/http', 'service/http'],
      ['sightline/fastify', 'service/fastify'],
      ['sightline', 'index'],
    ].map(([find, file]) => ({ find: find!, replacement: fileURLToPath(new URL(`dist/${file}.js`, import.meta.url)) })),
  },
  test: {
    include: gpu ? [...ON_GPU, ...ON_DEVICE] : device ? ON_DEVICE : ['test/**/*.test.ts'],
    exclude: device ? [] : [...ON_GPU, ...ON_DEVICE],
    typecheck: {
      enabled: !device,
      include: ['test/**/*.test-d.ts'],
      tsconfig: 'tsconfig.test.json',
    },
    // A crash in native code then ends one child, named in the report, and not the whole run; with threads the addon
    // would also be loaded and torn down in worker after worker of one process.
    pool: 'forks',
    // LibTorch uses every core by itself: more files at once would only slow each other down.
    maxWorkers: gpu ? 1 : 2,
    // For what hangs, and for nothing else: how long a test takes is the machine's business, and what else runs on it.
    testTimeout: 600_000,
    hookTimeout: 600_000,
  },
});
