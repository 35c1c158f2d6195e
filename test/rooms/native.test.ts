/** The rules of native/'s rooms hold, and each rule that is broken on purpose is reported. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { checkNativeRooms } from '../../scripts/check-native-rooms.mjs';

const PROJECT = path.join(import.meta.dirname, '..', '..');

let root: string;

/** A tree of the same rooms, with a file in each that the tests below include or break. */
function write(files: Record<string, string>): void {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
    writeFileSync(path.join(root, name), text);
  }
}

beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), 'sightline-rooms-'));
  write({
    'lib/methods/cam/grad-cam.ts': "export const gradCam = { name: 'grad-cam' };\n",
    'native/engine/errors.h': '#pragma once\n',
    'native/engine/graph/straighten.h': '#include "engine/errors.h"\n',
    'native/engine/programs/network.h': '#include "engine/graph/straighten.h"\n',
    'native/engine/device/worker.h': '#include "engine/programs/network.h"\n',
    'native/images/paint.h': '#pragma once\n',
    'native/bridge/addon.cc': '#include "engine/device/worker.h"\n#include "images/paint.h"\n#include <napi.h>\n',
  });
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

it('finds no breach in native/', () => {
  expect(checkNativeRooms(PROJECT)).toEqual([]);
});

it('has no file of more than 350 lines', () => {
  const long = readdirSync(path.join(PROJECT, 'native'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(cc|h)$/.test(entry.name))
    .map((entry) => path.join(entry.parentPath, entry.name))
    .map((file) => ({ file, lines: readFileSync(file, 'utf8').split('\n').length - 1 }));
  expect(long.length).toBeGreaterThan(100);
  expect(long.filter(({ lines }) => lines > 350)).toEqual([]);
});

it('accepts includes that point down', () => {
  expect(checkNativeRooms(root)).toEqual([]);
});

it.each([
  [
    'an include that points up',
    'native/engine/graph/places.cc',
    '#include "engine/programs/network.h"\n',
    /places\.cc:1 includes "engine\/programs\/network\.h": native\/engine\/programs lies on a higher floor/,
  ],
  [
    'rooms beside one another',
    'native/engine/guard/allow_list.cc',
    '#include "engine/relevance/rules.h"\n',
    /lies on a higher floor, or beside it/,
  ],
  [
    'a room that is on no floor',
    'native/engine/extras/one.cc',
    '#include "engine/errors.h"\n',
    /native\/engine\/extras is no room/,
  ],
  [
    'pictures that know the engine',
    'native/images/paint.cc',
    '#include "engine/errors.h"\n',
    /native\/images includes no other room/,
  ],
  [
    'an engine that knows pictures',
    'native/engine/device/run.cc',
    '#include "images/paint.h"\n',
    /included by native\/bridge alone/,
  ],
  ['N-API in the engine', 'native/engine/device/run.cc', '#include <napi.h>\n', /the engine includes no N-API/],
  [
    'a method named in the engine',
    'native/engine/steps/run.cc',
    'if (name == "grad-cam") return;\n',
    /names the method "grad-cam"/,
  ],
  [
    'a file that is not there',
    'native/engine/steps/run.cc',
    '#include "engine/steps/gone.h"\n',
    /is no file of native/,
  ],
])('reports %s', (_what, file, text, message) => {
  write({ 'native/engine/relevance/rules.h': '#pragma once\n', [file]: text });
  const breaches = checkNativeRooms(root);
  expect(breaches).toHaveLength(1);
  expect(breaches[0]).toMatch(message);
});

it('reports files that include one another in a circle', () => {
  write({
    'native/engine/graph/one.h': '#include "engine/graph/two.h"\n',
    'native/engine/graph/two.h': '#include "engine/graph/one.h"\n',
  });
  expect(checkNativeRooms(root)).toEqual([
    'A circle of includes: native/engine/graph/one.h -> native/engine/graph/two.h -> native/engine/graph/one.h.',
  ]);
});
