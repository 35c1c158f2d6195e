import { readFileSync } from 'node:fs';
import { join, parse } from 'node:path';

import { safeName, type OutputFolder } from '../cli/output-files.js';
import { listPredictions, percent } from '../cli/words.js';
import type { NamedOptions } from '../requests/explain.js';
import { contactSheet, type SheetCell } from '../pictures/sheet.js';
import { METHODS, type MethodName } from '../methods/index.js';
import { Model } from '../model/model.js';
import { peakOf } from './peak.js';
import { readShapes } from './pictures.js';

/** Pixels across one picture of the sheet. */
const CELL = 224;

/** The models with the methods that suit them, and how many of the best classes are explained. */
const SHOWN = [
  { name: 'resnet-tiny-shapes', methods: ['cam', 'grad-cam'] },
  { name: 'vit-tiny-shapes', methods: ['attention-rollout', 'gradient-rollout'] },
] as const satisfies readonly { name: string; methods: readonly MethodName[] }[];
const CLASSES = 2;
const ORDINALS = ['1st', '2nd'] as const;

/**
 * Two small models of shapes explain pictures of two objects each, whose masks are known.
 *
 * @param out the folder of `folder`
 * @returns what to tell of it, and the sheet's path
 */
export async function explainShapes(
  folder: OutputFolder,
  out: string,
): Promise<{ lines: string[]; sheet: string; written: number }> {
  const pictures = await readShapes();
  const rows: SheetCell[][] = pictures.map(({ path, file }) => [{ image: readFileSync(path), caption: file }]);
  const heads = ['image'];
  const lines: string[][] = pictures.map(({ file, labels }) => [`${file}: ${labels.join(', ')}`]);
  let written = 0;
  let onTarget = 0;
  let classMaps = 0;

  for (const { name, methods } of SHOWN) {
    console.error(`${name} explains ${pictures.length} pictures by ${methods.join(' and ')} ...`);
    await using model = await Model.load(name);
    for (const method of methods) {
      // One map is enough of a method that does not tell classes apart.
      const count = METHODS[method].isClassSpecific ? CLASSES : 1;
      for (let rank = 1; rank <= count; rank++) {
        heads.push(`${name} · ${method}${count > 1 ? ` · ${ORDINALS[rank - 1]}` : ''}`);
      }
      const explanations = await model.explain(
        pictures.map(({ path }) => path),
        { method, targets: [`top${count}`] } as NamedOptions<MethodName>,
      );
      for (const [i, { predictions, maps }] of explanations.entries()) {
        const picture = pictures[i]!;
        if (method === methods[0]) lines[i]!.push(`  ${name} predicts ${listPredictions(predictions.slice(0, 3))}`);
        for (const map of maps) {
          const { label, score } = map.target;
          const subject = count > 1 ? `${method} for ${label}` : method;
          const found = peakOf(map, picture, model.card.input);
          lines[i]!.push(`    ${subject}: ${found.words}`);
          if (count > 1) classMaps++;
          if (count > 1 && found.object === label) onTarget++;
          const file = [parse(picture.file).name, method, ...(count > 1 ? [label] : [])].map(safeName).join('-');
          await folder.picture(file, map.overlay({ legend: true, title: `${subject}, ${percent(score)}` }));
          written++;
          rows[i]!.push({
            image: await map.overlay({ width: CELL }).toBuffer(),
            caption: count > 1 ? `${label} ${percent(score)}` : 'all classes',
          });
        }
      }
    }
  }

  const sheet = join(out, 'shapes.png');
  await (
    await contactSheet(rows, { columnHeads: heads, cellWidth: CELL, title: 'What the models of shapes look at' })
  ).toFile(sheet);
  return {
    lines: [
      ...lines.flatMap((block) => [...block, '']),
      `${onTarget} of ${classMaps} class-specific maps peak on an object of their class.`,
    ],
    sheet,
    written,
  };
}
