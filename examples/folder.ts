/** Explains each picture of a folder, eight at a time, and writes the overlays and one line of CSV for each. */
import { createWriteStream } from 'node:fs';
import { mkdir, readdir } from 'node:fs/promises';
import path from 'node:path';
import { finished } from 'node:stream/promises';
import { SightlineError, type Model } from 'sightline';

const AT_ONCE = 8;

export async function explainFolder(
  model: Model,
  folder: string,
  out: string,
): Promise<{ done: number; refused: string[] }> {
  const files = (await readdir(folder)).filter((file) => /\.(jpe?g|png|webp)$/i.test(file)).sort();
  await mkdir(out, { recursive: true });
  const table = createWriteStream(path.join(out, 'predictions.csv'));
  table.write('file,label,score,peak row,peak column\n');
  const refused: string[] = [];
  const one = async (file: string): Promise<void> => {
    try {
      const [explained] = await model.explain(path.join(folder, file), { method: 'grad-cam' });
      const map = explained!.maps[0]!;
      const { row, column } = map.peak();
      await map.overlay().toFile(path.join(out, `${file}.png`));
      table.write(`"${file}","${map.target.label}",${map.target.score.toFixed(4)},${row},${column}\n`);
    } catch (error) {
      // One broken file is no reason to give up the others.
      if (!(error instanceof SightlineError) || error.code !== 'INVALID_IMAGE') throw error;
      refused.push(file);
    }
  };
  // Requests that wait together are run as one batch.
  for (let i = 0; i < files.length; i += AT_ONCE) await Promise.all(files.slice(i, i + AT_ONCE).map(one));
  table.end();
  await finished(table);
  return { done: files.length - refused.length, refused };
}
