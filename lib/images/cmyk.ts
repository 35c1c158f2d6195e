import { eachRow } from '../support/event-loop.js';

/**
 * CMYK (0 = no ink, 255 = full ink, four bytes a pixel) to RGB by the uncalibrated formula (255 - c)(255 - k) / 255.
 *
 * That is what Pillow's `convert('RGB')` does, so it is what classifiers saw in training; a press profile would give
 * duller, arguably truer colors that no model has met.
 */
export async function cmykToRgb(cmyk: Uint8Array, width: number, height: number): Promise<Uint8Array> {
  const rgb = new Uint8Array(width * height * 3);
  await eachRow(height, (y) => {
    for (let pixel = y * width; pixel < (y + 1) * width; pixel++) {
      const light = 255 - cmyk[4 * pixel + 3]!;
      for (let channel = 0; channel < 3; channel++) {
        rgb[3 * pixel + channel] = Math.max(0, light - Math.round((cmyk[4 * pixel + channel]! * light) / 255));
      }
    }
  });
  return rgb;
}
