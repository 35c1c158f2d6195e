import type { ImageSizes } from '../archives/exported/sizes.js';
import { defaultCard, resolveLabels, type ModelCard } from '../models/card.js';
import type { Inspection } from '../engine/inspection.js';
import { denseFormOf } from '../requests/dense/form.js';
import type { KnownModel } from '../requests/question.js';
import { SightlineError } from '../support/errors.js';
import type { Inspections } from './inspections.js';

/** Sizes that archives without a card are tried at, most usual first. */
const USUAL_SIZES = [224, 256, 384, 299, 288, 240, 320, 448, 518, 336, 192, 160, 128, 96, 64, 32, 28];

/**
 * The card by which images are prepared and classes are named: the given one, that beside the archive, or ImageNet's
 * defaults at a size that the model takes. A model that runs on no usual size has none until its first tensor.
 */
export class CardInForce {
  private found: KnownModel | null = null;
  /** Why the first usual size did not do, where none did. */
  private refusal: SightlineError | null = null;

  constructor(
    /** What messages call the model. */
    private readonly path: string,
    private readonly inspections: Inspections,
    /** Of a program, which says what images it is for; else null. */
    private readonly sizes: ImageSizes | null,
  ) {}

  /** Null where there is none yet. */
  get known(): KnownModel | null {
    return this.found;
  }

  /** @throws SightlineError UNSUPPORTED_MODEL where there is none yet */
  get required(): KnownModel {
    if (this.found === null) {
      throw new SightlineError(
        'UNSUPPORTED_MODEL',
        `${this.path} runs on no usual image size; write a model card beside it that gives its input size, or pass tensors. ${this.refusal?.message ?? ''}`.trim(),
        {
          cause: this.refusal,
        },
      );
    }
    return this.found;
  }

  /**
   * Has the model ready for the card's size; without a card, finds a size that the model takes.
   *
   * @returns what was assumed, as a sentence; null for nothing
   */
  async find(card: ModelCard | null): Promise<string | null> {
    if (card !== null) {
      await this.take(card);
      return null;
    }
    let refusal: unknown;
    const usual = USUAL_SIZES.map((size) => ({ height: size, width: size }));
    for (const { height, width } of this.sizes === null ? usual : [this.sizes, ...usual]) {
      try {
        const { channels } = await this.inspections.at(height, width);
        const assumed = defaultCard(this.path, width, height, channels);
        await this.take(assumed);
        if (channels !== 1 && channels !== 3) {
          return `${this.path} takes images of ${channels} channels, which come as tensors; a size of ${width} x ${height} is assumed.`;
        }
        return `There is no model card beside ${this.path}, so ImageNet's preprocessing is assumed${channels === 1 ? ', in gray' : ''}: ${width} x ${height}, bilinear, center crop of a shorter side of ${String(assumed.input.resize.size)}.`;
      } catch (error) {
        if (!(error instanceof SightlineError) || error.code !== 'INVALID_INPUT') throw error;
        refusal ??= error;
      }
    }
    this.refusal = refusal as SightlineError;
    return null;
  }

  /** What is said of an output, by default the usual one: nothing where no card was found yet. */
  async cardOf(output: string | undefined): Promise<Pick<ModelCard, 'dense' | 'labels'>> {
    if (this.found === null) return {};
    return (output === undefined ? this.found : await this.ofOutput(output)).card;
  }

  /** The same model where another of its outputs is asked about: labels and target layer of the card are not its. */
  async ofOutput(name: string): Promise<KnownModel> {
    const known = this.required;
    const { height, width } = known.card.input;
    const usual = await this.inspections.at(height, width);
    if (name === usual.output) return known;
    const { labels: _labels, targetLayer: _layer, dense: _dense, ...card } = known.card;
    return { ...known, card, ...(await labelsOf(card, await this.inspections.at(height, width, name))) };
  }

  /** The first tensor tells the size of a model that runs on no usual one. */
  async findAt(height: number, width: number): Promise<void> {
    const { channels } = await this.inspections.at(height, width);
    await this.take(defaultCard(this.path, width, height, channels));
  }

  private async take(card: ModelCard): Promise<void> {
    const inspection = await this.inspections.at(card.input.height, card.input.width);
    const { channels, isChannelsLast } = inspection;
    if (card.input.mean.length !== channels) {
      throw new SightlineError(
        'INVALID_CARD',
        `The card of ${card.name} gives the mean of ${card.input.mean.length} channels, but the model's images have ${channels}; give one for each.`,
      );
    }
    const labels = await labelsOf(card, inspection);
    // Another tensor may have been quicker.
    this.found ??= { card, ...labels, axes: { channels, isChannelsLast } };
  }
}

/** The labels of the classes that the model scores, of the whole image or of masks and boxes. */
async function labelsOf(card: ModelCard, inspection: Inspection): Promise<Pick<KnownModel, 'labels' | 'denseLabels'>> {
  const form = denseFormOf(inspection, card);
  if (form === null) {
    return { labels: await resolveLabels(card, inspection.classes, inspection.scores), denseLabels: [] };
  }
  return { labels: [], denseLabels: form.kind === 'unknown' ? [] : await resolveLabels(card, form.classes) };
}
