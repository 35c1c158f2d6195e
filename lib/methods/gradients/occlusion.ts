import { accumulate, constant, not, take, unravel } from '../../symbolic/index.js';
import { bothWays, oneOf, pixels } from '../fields.js';
import { defineMethod } from '../method.js';
import { withPresets } from '../presets.js';
import { baselineOf, baselineSchema, masked } from './baseline.js';
import { checkWindows, windowsAlong } from './windows.js';

/**
 * Occlusion: how far the score falls when a window of the image is hidden, for windows all over the image; each pixel
 * gets the mean of the windows that cover it. Needs no gradients.
 *
 * Zeiler & Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014.
 */
export const occlusion = defineMethod({
  name: 'occlusion',
  options: withPresets(
    {
      /** The window's size in pixels, or [height, width]. */
      window: pixels,
      /** Pixels from one window to the next, or [down, across]. */
      stride: pixels,
      /**
       * The values in the window: `zero` (the model's mean color), `black`, `white`, `blur` or `{ blur: pixels }`, a
       * number or one per color channel, after normalization.
       */
      baseline: baselineSchema,
      /** The value of a pixel, from the windows that cover it. */
      overlap: oneOf('mean', 'sum'),
      /**
       * `clip`: the last windows are cut off at the image's edge; `inside`: only whole windows, so the last pixels may
       * stay uncovered, at 0.
       */
      edge: oneOf('clip', 'inside'),
    },
    { window: 15, stride: 8, baseline: 'zero', overlap: 'mean', edge: 'clip' },
    {
      packages: {
        captum: { stride: 1 },
        xplique: { window: 3, stride: 3, overlap: 'sum', edge: 'inside' },
        pair: { window: 15, stride: 1, overlap: 'sum', edge: 'inside' },
      },
    },
  ),
  usesLayer: false,
  isClassSpecific: true,
  reasonAgainst: () => null,
  map: ({ model, options }) => {
    const { height, width } = model.inspection;
    const window = bothWays(options.window);
    const stride = bothWays(options.stride);
    checkWindows([height, width], window, stride);
    const down = windowsAlong(height, window[0], stride[0], options.edge);
    const across = windowsAlong(width, window[1], stride[1], options.edge);
    const { image } = model;
    // A window is a row's part times a column's: as whole masks, windows at every pixel would take gigabytes.
    const rows = constant(image, down.inside, { window: down.count, height });
    const columns = constant(image, across.inside, { window: across.count, width });
    const baseline = baselineOf(model, options.baseline);
    const { score } = model.output;
    const fall = accumulate(image, down.count * across.count, (sample) => {
      const { row, column } = unravel(sample, { row: down.count, column: across.count });
      const hidden = take(rows, row).mul(take(columns, column));
      return hidden.mul(score.sub(model.run(masked(image, not(hidden), baseline)).score));
    });
    if (options.overlap === 'sum') return fall;
    // Uncovered pixels hold 0, whatever they are divided by.
    const covering = (counts: Float32Array): Float32Array => counts.map((windows) => 1 / Math.max(windows, 1));
    return fall
      .mul(constant(image, covering(down.covering), { height }))
      .mul(constant(image, covering(across.covering), { width }));
  },
});
