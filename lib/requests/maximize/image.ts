import { Picture, type PictureOptions } from '../../pictures/picture.js';
import type { RawImage } from '../../images/image-input.js';

/** An image that was made rather than taken. */
export class GeneratedImage {
  constructor(
    /** R, G and B in [0, 1], row-major [3, H, W]. */
    readonly data: Float32Array,
    /** [1, 3, H, W]. */
    readonly shape: readonly [channels: 3, height: number, width: number],
  ) {}

  /** Rounded to 8 bits: what `explain` and `capture` take as an image. */
  pixels(): RawImage & { readonly data: Uint8Array; readonly channels: 3 } {
    const [, height, width] = this.shape;
    const area = height * width;
    const data = new Uint8Array(3 * area);
    for (let channel = 0; channel < 3; channel++) {
      for (let i = 0; i < area; i++) {
        data[3 * i + channel] = Math.round(255 * Math.min(1, Math.max(0, this.data[channel * area + i]!)));
      }
    }
    return { data, width, height, channels: 3 };
  }

  /** As a picture: `.toFile('unit.png')`, `.toBuffer()`, `.sharp()`. */
  picture(): Picture {
    return new Picture(() => Promise.resolve(this.pixels()));
  }

  /** Writes it in the format of the extension, as `picture().toFile` does. */
  toFile(path: string, options: PictureOptions = {}): ReturnType<Picture['toFile']> {
    return this.picture().toFile(path, options);
  }
}
