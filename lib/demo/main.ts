/** `npm run demo`: the bundled models explain the bundled pictures. */
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';

import { failureOf } from '../cli/failure.js';
import { OutputFolder } from '../cli/output-files.js';
import { explainPhotos } from './photos.js';
import { explainShapes } from './shapes.js';

const OUT = fileURLToPath(new URL('../../out/demo/', import.meta.url));

async function main(): Promise<void> {
  const folder = await OutputFolder.create(OUT, 'out/demo');
  const parts = [await explainPhotos(folder, OUT), await explainShapes(folder, OUT)];
  for (const { lines } of parts) console.log(`${lines.join('\n')}\n`);
  const written = parts.reduce((sum, part) => sum + part.written, 0);
  console.log(
    `${written} overlays are in ${shown(OUT)}, all side by side in ${parts.map(({ sheet }) => shown(sheet)).join(' and ')}.`,
  );
  console.log('To try pictures of your own on a page in your browser: npx sightline serve');
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
