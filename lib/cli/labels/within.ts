import path from 'node:path';

/** A path that labels name: as it is where it is absolute, else in their folder. */
export const within = (folder: string, named: string): string =>
  path.isAbsolute(named) ? named : path.join(folder, named);
