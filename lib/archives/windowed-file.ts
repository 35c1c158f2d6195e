import type { FileHandle } from 'node:fs/promises';

import { readAt } from '../support/files.js';

const WINDOW = 16 * 1024;

/** A file whose small pieces are read in the order in which they lie: neighbors come with one read. */
export class WindowedFile {
  private window: Buffer = Buffer.alloc(0);
  private begin = 0;

  constructor(
    readonly handle: FileHandle,
    private readonly size: number,
    /** Where it begins in the file, if it is a part of it. */
    readonly start = 0,
  ) {}

  /** A part of the file as a file of its own. */
  part(start: number, size: number): WindowedFile {
    return new WindowedFile(this.handle, size, this.start + start);
  }

  /** Exactly `length` bytes from `position`; null where the file ends before. They stay as they are. */
  async at(position: number, length: number): Promise<Buffer | null> {
    if (position + length > this.size) return null;
    if (length > WINDOW) return readAt(this.handle, this.start + position, length);
    if (position < this.begin || position + length > this.begin + this.window.length) {
      const read = await readAt(this.handle, this.start + position, Math.min(WINDOW, this.size - position));
      if (read === null) return null;
      this.window = read;
      this.begin = position;
    }
    return this.window.subarray(position - this.begin, position - this.begin + length);
  }
}
