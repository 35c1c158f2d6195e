/** `npm run demo`: the bundled models explain the bundled pictures. */
import { readFileSync } from 'node:fs';
import { join, parse, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

import { failureOf } from '../cli/failure.js';
import { OutputFolder, safeName, writePicture } from '../cli/output-files.js';
import { listPredictions, percent, regionOf } from '../cli/words.js';
import type { NamedOptions } from '../explain.js';
import type { HeatMap } from '../heatmap.js';
import { contactSheet, type SheetCell } from '../images/sheet.js';
import { METHODS, type MethodName } from '../methods/index.js';
import { Model } from '../model.js';
import type { ModelInput } from '../models/card.js';
import { inputGeometry } from '../models/geometry.js';
import { objectAt, readDemoPictures, type DemoPicture } from './pictures.js';

const OUT = fileURLToPath(new URL('../../out/demo/', import.meta.url));

/** Pixels across one picture of the sheet. */
const CELL = 224;

/** The models with the methods that suit them, and how many of the best classes are explained. */
const SHOWN = [
  { name: 'resnet-tiny-shapes', methods: ['cam', 'grad-cam'] },
  { name: 'vit-tiny-shapes', methods: ['attention-rollout', 'gradient-rollout'] },
] as const satisfies readonly { name: string; methods: readonly MethodName[] }[];
const CLASSES = 2;
const ORDINALS = ['1st', '2nd'] as const;

async function main(): Promise<void> {
  const pictures = await readDemoPictures();
  const folder = await OutputFolder.create(OUT, 'out/demo');
  const rows: SheetCell[][] = pictures.map(({ path, file }) => [{ image: readFileSync(path), caption: file }]);
  const heads = ['image'];
  const lines: string[][] = pictures.map(({ file, objects }) => [`${file}: ${objects.map(({ label }) => label).join(', ')}`]);
  let written = 0;
  let onTarget = 0;
  let classMaps = 0;

  for (const { name, methods } of SHOWN) {
    console.error(`${name} explains ${pictures.length} pictures by ${methods.join(' and ')} ...`);
    await using model = await Model.load(name);
    for (const method of methods) {
      // One map is enough of a method that does not tell classes apart.
      const count = METHODS[method].isClassSpecific ? CLASSES : 1;
      for (let rank = 1; rank <= count; rank++) heads.push(`${name} · ${method}${count > 1 ? ` · ${ORDINALS[rank - 1]}` : ''}`);
      const explanations = await model.explain(pictures.map(({ path }) => path), { method, targets: [`top${count}`] } as NamedOptions<MethodName>);
      for (const [i, { predictions, maps }] of explanations.entries()) {
        const picture = pictures[i]!;
        if (method === methods[0]) lines[i]!.push(`  ${name} predicts ${listPredictions(predictions.slice(0, 3))}`);
        for (const map of maps) {
          const { label, score } = map.target;
          const subject = count > 1 ? `${method} for ${label}` : method;
          const found = objectUnder(map, picture, model.card.input);
          lines[i]!.push(`    ${subject}: ${found.words}`);
          if (count > 1) classMaps++;
          if (count > 1 && found.object === label) onTarget++;
          const file = [parse(picture.file).name, method, ...(count > 1 ? [label] : [])].map(safeName).join('-');
          await folder.picture(file, map.overlay({ legend: true, title: `${subject}, ${percent(score)}` }));
          written++;
          rows[i]!.push({ image: await map.overlay({ width: CELL }).toBuffer(), caption: count > 1 ? `${label} ${percent(score)}` : 'all classes' });
        }
      }
    }
  }

  const sheet = join(OUT, 'side-by-side.png');
  await writePicture(sheet, await contactSheet(rows, { columnHeads: heads, cellWidth: CELL, title: 'What the bundled models look at' }));
  for (const block of lines) console.log(`${block.join('\n')}\n`);
  console.log(`${onTarget} of ${classMaps} class-specific maps peak on an object of their class.`);
  console.log(`${written} overlays are in ${shown(OUT)}, all side by side in ${shown(sheet)}.`);
}

/** Where a map peaks in its picture, and on what. */
function objectUnder(map: HeatMap, picture: DemoPicture, input: ModelInput): { object: string | null; words: string } {
  if (map.state !== 'ok') return { object: null, words: 'points at nothing' };
  const { width, height } = picture;
  const { box } = inputGeometry(width, height, input);
  const { row, column } = map.peak();
  const [rows, columns] = map.shape;
  const x = Math.min(width - 1, Math.max(0, Math.floor(box.left + ((column + 0.5) * box.width) / columns)));
  const y = Math.min(height - 1, Math.max(0, Math.floor(box.top + ((row + 0.5) * box.height) / rows)));
  const object = objectAt(picture, x, y);
  return { object, words: `peaks at x ${x}, y ${y}, ${regionOf(x + 0.5, y + 0.5, width, height)}, on ${object === null ? 'the background' : `the ${object}`}` };
}

function shown(path: string): string {
  return relative(process.cwd(), path) || '.';
}

main().catch((error: unknown) => {
  const { message, exitCode } = failureOf(error);
  console.error(`sightline: ${message}`);
  if (process.env['SIGHTLINE_DEBUG'] === '1') console.error(error);
  process.exitCode = exitCode;
});
