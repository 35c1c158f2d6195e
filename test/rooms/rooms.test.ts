import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { beforeAll, describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/**
 * What `npm run lint:rooms` says of a copy of lib/ and scripts/ to which lines were added; of circles the first step.
 */
function violationsWith(added: readonly { readonly file: string; readonly line: string }[]): {
  code: number | null;
  violations: string[];
} {
  const tree = mkdtempSync(join(tmpdir(), 'sightline-rooms-'));
  try {
    for (const name of ['lib', 'scripts', 'tsconfig.json', 'package.json', '.dependency-cruiser.mjs']) {
      cpSync(join(ROOT, name), join(tree, name), { recursive: true });
    }
    symlinkSync(join(ROOT, 'node_modules'), join(tree, 'node_modules'));
    for (const { file, line } of added) {
      mkdirSync(dirname(join(tree, file)), { recursive: true });
      appendFileSync(join(tree, file), `\n${line}\n`);
    }
    const { scripts } = JSON.parse(readFileSync(join(tree, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>;
    };
    const [program, ...args] = scripts['lint:rooms']!.split(' ');
    const { status, stdout } = spawnSync(join(tree, 'node_modules/.bin', program!), args, {
      cwd: tree,
      encoding: 'utf8',
      maxBuffer: 2 ** 28,
    });
    const violations = [...stdout.matchAll(/error ([\w-]+): (\S+) →\s+(\S+)/g)].map(
      ([, rule, from, to]) => `${rule}: ${from} imports ${to}`,
    );
    return { code: status, violations };
  } finally {
    rmSync(tree, { recursive: true, force: true });
  }
}

/** One broken rule each: the file, the line that breaks it, the rule, and the file that it then imports. */
const BROKEN = [
  ['lib/support/errors.ts', "import '../model/model.js';", 'upward-from-support-setup', 'lib/model/model.ts'],
  [
    'lib/engine/inspection.ts',
    "import type {} from '../requests/predict.js';",
    'upward-from-engine',
    'lib/requests/predict.ts',
  ],
  [
    'lib/hub/names.ts',
    "import '../weights/plan.js';",
    'upward-from-images-methods-hub-archives-weights',
    'lib/weights/plan.ts',
  ],
  ['lib/cli/words.ts', "import '../demo/peak.js';", 'upward-from-cli-processes-page', 'lib/demo/peak.ts'],
  ['lib/bench/plots/svg.ts', "import type {} from './panels.js';", 'no-circle', 'lib/bench/plots/panels.ts'],
  ['lib/loose.ts', "import './support/errors.js';", 'no-loose-file', 'lib/support/errors.ts'],
  ['lib/attic/old.ts', "import '../support/errors.js';", 'no-loose-file', 'lib/support/errors.ts'],
  ['lib/requests/targets.ts', "import '../alone.js';", 'no-import-of-loose-file', 'lib/alone.ts'],
  ['lib/cli/options.ts', "import '../index.js';", 'index-is-for-users', 'lib/index.ts'],
  ['lib/methods/method.ts', "import '../support/npy.js';", 'methods-know-the-vocabulary', 'lib/support/npy.ts'],
  ['lib/methods/cam/cam.ts', "import 'node:fs';", 'methods-know-the-vocabulary', 'fs'],
  [
    'lib/methods/conditions.ts',
    "import { SCORE_KINDS } from '../engine/inspection.js';",
    'methods-know-types-of-the-engine',
    'lib/engine/inspection.ts',
  ],
  [
    'lib/symbolic/loops.ts',
    "import { binding } from '../engine/binding.js';",
    'methods-know-types-of-the-engine',
    'lib/engine/binding.ts',
  ],
  ['lib/images/gate.ts', "import '../setup/addon.mjs';", 'only-engine-imports-the-addon', 'lib/setup/addon.mjs'],
  ['lib/bench/random.ts', "import '../../scripts/progress.mjs';", 'lib-stands-without-scripts', 'scripts/progress.mjs'],
  [
    'scripts/progress.mjs',
    "import '../lib/support/errors.ts';",
    'scripts-run-before-the-build',
    'lib/support/errors.ts',
  ],
  ['lib/setup/stamps.mjs', "import '../support/nearest.js';", 'setup-needs-node-alone', 'lib/support/nearest.ts'],
] as const;

describe('the rooms of lib/', () => {
  let found: ReturnType<typeof violationsWith>;

  beforeAll(() => {
    found = violationsWith([
      ...BROKEN.map(([file, line]) => ({ file, line })),
      { file: 'lib/alone.ts', line: 'export const alone = true;' },
    ]);
  });

  it('keep their rules', () => {
    expect(violationsWith([])).toEqual({ code: 0, violations: [] });
  });

  it('fail where a rule is broken', () => expect(found.code).toBeGreaterThan(0));

  it.each(BROKEN)('%s with %s breaks %s', (file, _line, rule, to) => {
    // A circle may be told from any of its files.
    const told = [
      `${rule}: ${file} imports ${to}`,
      ...(rule === 'no-circle' ? [`${rule}: ${to} imports ${file}`] : []),
    ];
    expect(found.violations.filter((violation) => told.includes(violation))).not.toEqual([]);
  });

  it('have no rule that this test does not break', () => {
    const config = readFileSync(join(ROOT, '.dependency-cruiser.mjs'), 'utf8');
    const names = [...config.matchAll(/name: '([a-z-]+)'/g)].map(([, name]) => name);
    expect(names.length).toBeGreaterThan(5);
    expect(names.filter((name) => !BROKEN.some(([, , rule]) => rule === name))).toEqual([]);
  });

  it('have no file of more than 350 lines', () => {
    const long = readdirSync(join(ROOT, 'lib'), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && /\.m?ts$|\.mjs$/.test(entry.name))
      .map((entry) => ({
        file: join(entry.parentPath, entry.name),
        lines: readFileSync(join(entry.parentPath, entry.name), 'utf8').split('\n').length - 1,
      }))
      .filter(({ lines }) => lines > 350);
    expect(long).toEqual([]);
  });
});
