#!/usr/bin/env node
/**
 * Holds `native/` to its rooms: what each may include, and that no files include one another in a circle. Prints every
 * breach and ends with code 1 where there is one. No linter at hand knows rooms of C++ headers; lib's rooms are kept by
 * one.
 *
 *   node scripts/check-native-rooms.mjs [root of the project]
 */
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

/** Top floor first: a room may include itself and rooms of lower floors. */
const FLOORS = [
  ['native/bridge'],
  ['native/cuda'],
  ['native/engine/device'],
  ['native/engine'], // model.*, weights.*, shuffled_weights.*, weight_scan.*, exported_*
  ['native/engine/steps'],
  ['native/engine/programs'],
  ['native/engine/programs/tuning'],
  ['native/engine/relevance', 'native/engine/guard'],
  ['native/engine/graph'],
  ['native/engine/algorithms'],
  ['native/engine/base'],
];
/** Rooms that stand alone: they include nobody, and only the bridge includes them. */
const ALONE = ['native/images', 'native/process', 'native/loader', 'native/portable'];
/** Files beside the engine's rooms that everybody stands on. */
const BASE = new Set(['native/engine/errors', 'native/engine/cancel_points']);

/** @param {string} file a path from the root, with `/` @returns {string} */
function roomOf(file) {
  if (BASE.has(file.replace(/\.[a-z]+$/, ''))) return 'native/engine/base';
  return path.posix.dirname(file);
}

/** @param {string} room */
const floorOf = (room) => FLOORS.findIndex((rooms) => rooms.includes(room));

/** @param {string} from @param {string} to @returns {string | undefined} why a room may not include another */
function refuse(from, to) {
  if (from === to) return undefined;
  if (ALONE.includes(to)) return from === 'native/bridge' ? undefined : `${to} is included by native/bridge alone`;
  if (ALONE.includes(from)) return `${from} includes no other room`;
  if (floorOf(to) < 0) return `${to} is no room; add it to FLOORS in scripts/check-native-rooms.mjs`;
  if (floorOf(from) < 0) return `${from} is no room; add it to FLOORS in scripts/check-native-rooms.mjs`;
  return floorOf(from) < floorOf(to) ? undefined : `${to} lies on a higher floor, or beside it`;
}

/** @param {Map<string, string[]>} includes @returns {string[][]} files that include one another in a circle */
function findCircles(includes) {
  /** @type {string[][]} */
  const circles = [];
  const done = new Set();
  /** @param {string} file @param {string[]} way */
  const visit = (file, way) => {
    if (way.includes(file)) {
      circles.push([...way.slice(way.indexOf(file)), file]);
      return;
    }
    if (done.has(file)) return;
    for (const next of includes.get(file) ?? []) visit(next, [...way, file]);
    done.add(file);
  };
  for (const file of includes.keys()) visit(file, []);
  return circles;
}

/**
 * @param {string} root
 * @returns {string[]} every breach, as a sentence
 */
export function checkNativeRooms(root) {
  const files = readdirSync(path.join(root, 'native'), { recursive: true, encoding: 'utf8' })
    .map((name) => path.posix.join('native', name.split(path.sep).join('/')))
    .filter((name) => /\.(cc|h)$/.test(name));
  const known = new Set(files);
  // Methods are named in lib only. A backward rule may have the name of the method that is made of nothing else.
  const methods = methodNames(root);
  /** @type {string[]} */
  const breaches = [];
  /** @type {Map<string, string[]>} */
  const includes = new Map();
  for (const file of files) {
    const lines = readFileSync(path.join(root, file), 'utf8').split('\n');
    for (const [index, line] of lines.entries()) {
      const at = `${file}:${index + 1}`;
      const quoted = /^#include "([^"]+)"/.exec(line)?.[1];
      if (quoted !== undefined) {
        const target = path.posix.join('native', quoted);
        if (!known.has(target)) {
          breaches.push(`${at} includes "${quoted}", which is no file of native/.`);
          continue;
        }
        includes.set(file, [...(includes.get(file) ?? []), target]);
        const why = refuse(roomOf(file), roomOf(target));
        if (why !== undefined) breaches.push(`${at} includes "${quoted}": ${why}.`);
      }
      if (!file.startsWith('native/engine/')) continue;
      if (/^#include <(napi|node_api|js_native_api)/.test(line)) {
        breaches.push(`${at}: the engine includes no N-API; that is native/bridge's.`);
      }
      if (file.startsWith('native/engine/relevance/')) continue;
      const name = [...line.matchAll(/"([a-z+-]+)"/g)]
        .map((match) => match[1])
        .find((text) => text !== undefined && methods.has(text));
      if (name !== undefined) {
        breaches.push(`${at} names the method "${name}": the engine knows steps, lib/methods knows methods.`);
      }
    }
  }
  for (const circle of findCircles(includes)) breaches.push(`A circle of includes: ${circle.join(' -> ')}.`);
  return breaches;
}

/** @param {string} root @returns {Set<string>} names of methods that are no rules of the backward pass and no steps */
function methodNames(root) {
  const folder = path.join(root, 'lib', 'methods');
  const names = new Set();
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.ts')) continue;
    for (const match of readFileSync(path.join(folder, name), 'utf8').matchAll(/\bname: '([a-z0-9+-]+)'/g)) {
      names.add(match[1]);
    }
  }
  for (const rule of ['gradient', 'guided-backprop', 'deconvnet', 'attn-lrp', 'cp-lrp', 'lrp']) names.delete(rule);
  return names;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const breaches = checkNativeRooms(process.argv[2] ?? path.join(import.meta.dirname, '..'));
  for (const breach of breaches) console.error(breach);
  process.exitCode = breaches.length === 0 ? 0 : 1;
}
