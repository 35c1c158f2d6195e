import { fileURLToPath } from 'node:url';

import { defineConfig } from 'vitest/config';

// `npm run test:gpu` runs the tests that need a GPU, and only those; `npm test` runs all the others.
const gpu = process.env['SIGHTLINE_GPU'] === '1';

export default defineConfig({
  // The examples name the package as its users do: this is the built one.
  resolve: {
    // The longer name first: an alias stands for what begins with it too.
    alias: ['bench/', ''].map((entry) => ({ find: entry === '' ? 'sightline' : 'sightline/bench', replacement: fileURLToPath(new URL(`dist/${entry}index.js`, import.meta.url)) })),
  },
  test: {
    include: [gpu ? 'test/gpu/**/*.test.ts' : 'test/**/*.test.ts'],
    exclude: gpu ? [] : ['test/gpu/**'],
    typecheck: {
      enabled: !gpu,
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
