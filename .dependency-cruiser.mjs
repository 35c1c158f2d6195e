// The rooms of lib/ (docs/architecture.md) and who may import whom: `npm run lint:rooms`. By dependency-cruiser, since
// it sees type imports, circles and packages alike, which a check of our own would have to learn one by one.

/** Top down. A room imports from lower floors, and not from the rooms beside it. */
const FLOORS = [
  ['demo'],
  ['cli', 'processes', 'page'],
  ['bench', 'service'],
  ['model'],
  ['requests'],
  ['pictures', 'metrics'],
  ['images', 'methods', 'hub', 'archives', 'weights'],
  ['models', 'symbolic'],
  ['engine'],
  ['support', 'setup'],
];

const ROOMS = FLOORS.flat().join('|');
/** All that has its place: a room's files, and index.ts, which is the package's face. */
const PLACED = [`^lib/(?:${ROOMS})/`, '^lib/index\\.ts$'];

/** @param {readonly string[]} rooms @param {number} floor */
const upward = (rooms, floor) => ({
  name: `upward-from-${rooms.join('-')}`,
  comment: 'A room imports from lower floors only; move what both need down, or hand it in.',
  severity: 'error',
  from: { path: `^lib/(${rooms.join('|')})/` },
  to: {
    path: `^lib/(?:${FLOORS.slice(0, floor + 1)
      .flat()
      .join('|')})/`,
    pathNot: '^lib/$1/',
  },
});

/** @type {import('dependency-cruiser').IConfiguration} */
export default {
  forbidden: [
    {
      name: 'no-circle',
      comment:
        'Files that import each other, by types too, are one file in two pieces; give what they share a place below both.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    ...FLOORS.map(upward),
    {
      name: 'no-loose-file',
      comment: 'Each file of lib/ lies in a room that .dependency-cruiser.mjs gives a floor; only index.ts lies loose.',
      severity: 'error',
      from: { path: '^lib/', pathNot: PLACED },
      to: {},
    },
    {
      name: 'no-import-of-loose-file',
      comment: 'As no-loose-file, of files that import nothing themselves.',
      severity: 'error',
      from: {},
      to: { path: '^lib/', pathNot: PLACED },
    },
    {
      name: 'index-is-for-users',
      comment: 'Within lib/ the file that has it is imported, so that no import goes through all rooms.',
      severity: 'error',
      from: { path: '^lib/' },
      to: { path: '^lib/index\\.ts$' },
    },
    {
      name: 'methods-know-the-vocabulary',
      comment:
        'A method is a formula: it imports lib/symbolic, its options (zod), errors, and the types of what is known of a model.',
      severity: 'error',
      from: { path: '^lib/methods/' },
      to: {
        pathNot: [
          '^lib/(?:methods|symbolic)/',
          '^lib/support/errors\\.ts$',
          '^lib/engine/inspection\\.ts$',
          '^node_modules/zod/',
        ],
      },
    },
    {
      name: 'methods-know-types-of-the-engine',
      comment:
        'Of lib/engine, methods and the vocabulary import types, and the table of operations; nothing that runs.',
      severity: 'error',
      from: { path: '^lib/(?:methods|symbolic)/' },
      to: { path: '^lib/engine/', pathNot: '^lib/engine/operations\\.ts$', dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'only-engine-imports-the-addon',
      comment: 'lib/engine is the joint to C++; ask its binding().',
      severity: 'error',
      from: { path: '^lib/', pathNot: '^lib/(?:engine|setup)/' },
      to: { path: '^lib/setup/addon\\.mjs$|\\.node$' },
    },
    {
      name: 'lib-stands-without-scripts',
      comment: 'What both need lies in lib/setup; commands that set up import scripts/ when they are asked to.',
      severity: 'error',
      from: { path: '^lib/', pathNot: '^lib/cli/' },
      to: { path: '^scripts/' },
    },
    {
      name: 'scripts-run-before-the-build',
      comment: 'Of lib/, scripts import lib/setup alone, the one room that needs no compiler.',
      severity: 'error',
      from: { path: '^scripts/' },
      to: { path: '^(?:lib|dist)/', pathNot: '^lib/setup/' },
    },
    {
      name: 'setup-needs-node-alone',
      comment:
        'lib/setup is read before any package is installed; node-gyp-build is asked for where a prebuilt addon is there.',
      severity: 'error',
      from: { path: '^lib/setup/' },
      to: { pathNot: '^lib/setup/|^node_modules/node-gyp-build/', dependencyTypesNot: ['core'] },
    },
  ],
  options: {
    // Types are imports too: without them a room would stand in a file that it seems not to know.
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    doNotFollow: { path: 'node_modules' },
    // A linked node_modules is this package's own all the same.
    preserveSymlinks: true,
  },
};
