import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const folder = new URL('../../models/demo/photos/', import.meta.url);

/** Paths of the JPEGs that are sent. */
export const PHOTOS = readdirSync(folder)
  .filter((name) => name.endsWith('.jpg'))
  .map((name) => fileURLToPath(new URL(name, folder)));
