import { basename } from 'node:path';

import sharp from 'sharp';

import { inputGeometry } from '../images/geometry.js';
import type { Model } from '../model/model.js';
import { viewHtml, type ViewFile, type ViewPanel } from '../pictures/view-file.js';
import { describeMethod } from '../requests/describe.js';
import type { Explanation } from '../requests/explain.js';
import type { HeatMap } from '../requests/heatmap.js';
import { pageFiles } from '../service/page.js';
import { SightlineError } from '../support/errors.js';
import type { NamedInput } from './input-files.js';
import { preparePage, writePage } from './output-files.js';
import { commandLine } from './words.js';

/** The longer side of a picture within the file, in pixels: more than a screen shows of one. */
const MOST_PIXELS = 1600;

interface Look {
  readonly opacity: number | undefined;
  readonly colormap: string | undefined;
}

/** Gathers maps for one HTML file that needs nothing else. */
export class ViewPage {
  readonly #pictures: ViewFile['pictures'][number][] = [];
  readonly #panels: ViewPanel[] = [];

  private constructor(
    readonly path: string,
    private readonly look: Look,
  ) {}

  /**
   * Before any work is done for it.
   *
   * @param look as the flags say; the reader of the file may choose another
   * @throws SightlineError INVALID_OPTION
   */
  static async create(path: string, look: Look): Promise<ViewPage> {
    await preparePage(path);
    return new ViewPage(path, look);
  }

  /** @throws SightlineError INVALID_INPUT for a tensor, which no browser shows. */
  async add({ image, input }: NamedInput, explanation: Explanation, model: Model, isRaw: boolean): Promise<void> {
    if (typeof input !== 'string') {
      throw new SightlineError('INVALID_INPUT', `${image} is a tensor, and --html shows pictures; give image files.`);
    }
    const { data, info } = await sharp(input)
      .autoOrient()
      .resize(MOST_PIXELS, MOST_PIXELS, { fit: 'inside', withoutEnlargement: true })
      .webp({ quality: 90 })
      .toBuffer({ resolveWithObject: true });
    const { autoOrient: whole } = await sharp(input).metadata();
    const { width, height } = whole ?? info;
    const { box } = inputGeometry(width, height, model.card.input);
    const { scores } = await model.inspect();
    const { name: method, family, isClassSpecific } = describeMethod(explanation.method);
    this.#pictures.push({ name: basename(image), type: 'image/webp', b64: data.toString('base64'), width, height });
    for (const map of explanation.maps) {
      const values = isRaw ? map.data : ownValues(map);
      this.#panels.push({
        picture: this.#pictures.length - 1,
        model: model.card.name,
        method,
        family,
        isClassSpecific,
        isProbability: scores !== 'value',
        target: map.target,
        predictions: explanation.predictions,
        state: map.state,
        peak: map.peak(),
        shape: map.shape,
        b64: Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('base64'),
        box,
        command: commandLine(),
      });
    }
  }

  /** @throws SightlineError INVALID_OPTION where it cannot be written */
  async write(): Promise<void> {
    const template = pageFiles().get('view.html');
    if (template === undefined) {
      throw new SightlineError('INTERNAL', 'The page within this package is missing; install sightline again.');
    }
    const { opacity = 0.5, colormap = 'turbo' } = this.look;
    const look = { view: 'heat', threshold: 0, opacity, colormap };
    const view: ViewFile = { pictures: this.#pictures, panels: this.#panels, look };
    await writePage(this.path, viewHtml(template.body.toString('utf8'), view));
  }
}

/** As they were before the map was brought to [0, 1]: the legend tells the true range. */
function ownValues({ data, min, max, state }: HeatMap): Float32Array {
  return state === 'ok' ? data.map((value) => min + value * (max - min)) : data;
}
