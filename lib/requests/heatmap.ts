import { overlay, type OverlayOptions } from '../pictures/overlay.js';
import type { Picture } from '../pictures/picture.js';
import type { Box } from './evaluate/mask.js';
import type { PreparedInput } from '../images/inputs.js';

/** A class of the model. */
export interface ClassLabel {
  /** The class, from 0. */
  readonly index: number;
  /** Its name in the card's list, else its number. */
  readonly label: string;
}

/**
 * A class and its probability, in [0, 1]; of a model that returns a value, the value. Of masks the class's share of the
 * places, of a box its score.
 */
export interface Prediction extends ClassLabel {
  /** Probability in [0, 1]; of a model that returns a value, the value; of masks the share of the places. */
  readonly score: number;
  /** Of a detector: the box's row in the output, which a target `{ box }` names. */
  readonly box?: number;
  /** Of a detector whose card says it: where the box lies, in pixels of the picture. */
  readonly place?: Box;
}

/** The class that a map explains. Of a mask or a box `score` is the score that was explained. */
export interface ExplainedTarget extends Prediction {
  /** The class that it is preferred to, where a difference was asked for. */
  readonly against?: Prediction;
  /** Of a target `{ mask }`: over how many places of the output the class's scores were summed. */
  readonly places?: number;
}

/** One map: what in one image speaks for one class. */
export class HeatMap<Layer extends string | null = string | null> {
  /** Private, so that neither JSON nor `structuredClone` meets the picture. */
  readonly #source: PreparedInput;

  constructor(
    /** Row-major [H, W]; in [0, 1] unless raw values were asked for. */
    readonly data: Float32Array,
    /** Rows and columns. */
    readonly shape: readonly [height: number, width: number],
    /**
     * The class that was asked for. Where the request's own `score` reads no class: index -1, label `score`, and that
     * score's value.
     */
    readonly target: ExplainedTarget,
    /** The layer or layers explained, joined by ", "; null for methods that explain no layer. */
    readonly layer: Layer,
    /** Range of the map before it was brought to [0, 1]. */
    readonly min: number,
    /** The largest value before that. */
    readonly max: number,
    /**
     * `flat` when every value is the same, so that nothing stands out; `nan` when it holds NaN or infinities. Neither
     * is painted.
     */
    readonly state: 'ok' | 'flat' | 'nan',
    source: PreparedInput,
    /** Numbers of the method's own about this map, such as `completenessError`. */
    readonly figures: Readonly<Record<string, number>> = {},
  ) {
    this.#source = source;
  }

  /**
   * The map painted over its image: `.toFile('out.png')`, `.toBuffer()`, `.sharp()`. The part of the image that the
   * model did not see (beyond the crop) stays as it is.
   *
   * @throws SightlineError INVALID_OPTION, at once
   */
  overlay(options: Omit<OverlayOptions, 'box'> = {}): Picture {
    const { image, box } = this.#source.picture();
    return overlay(image, this, { stretch: true, ...options, box });
  }

  /** The fields that a client needs, without the picture. The values have six significant digits here. */
  toJSON(): Record<string, unknown> {
    const { shape, target, layer, min, max, state, figures } = this;
    return {
      shape,
      target,
      layer,
      min,
      max,
      state,
      figures,
      peak: this.peak(),
      data: Array.from(this.data, (value) => Number(value.toPrecision(6))),
    };
  }

  /** Row and column of the highest value, the first if there are several. */
  peak(): { readonly row: number; readonly column: number } {
    let best = 0;
    for (let i = 1; i < this.data.length; i++) if (this.data[i]! > this.data[best]!) best = i;
    const width = this.shape[1];
    return { row: Math.floor(best / width), column: best % width };
  }
}
