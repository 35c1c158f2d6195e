import { mkdtempSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const temporary = (): string => mkdtempSync(path.join(os.tmpdir(), 'sightline-examples-'));
export const photo = (name: string): string =>
  fileURLToPath(new URL(`../../models/demo/photos/${name}`, import.meta.url));
export const picture = (name: string): string => fileURLToPath(new URL(`../../models/eval/${name}`, import.meta.url));
