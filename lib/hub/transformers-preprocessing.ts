import type { ModelInput } from '../models/card.js';
import type { ConfigFields } from './config-fields.js';

type Size = { readonly shortest: number } | { readonly width: number; readonly height: number };
type Channels = [number, number, number];

interface Processor {
  /** What is not in the file. Sizes as [height, width] or the shortest side, in px. */
  readonly size: Size;
  readonly crop: Size | null;
  readonly resample: number;
  readonly mean: Channels;
  readonly std: Channels;
  /** What a bare number means, which files of the time before 2023 have. */
  readonly bareSizeIs: 'square' | 'shortest';
}

const HALF: Channels = [0.5, 0.5, 0.5];
const CLIP_MEAN: Channels = [0.48145466, 0.4578275, 0.40821073];
const CLIP_STD: Channels = [0.26862954, 0.26130258, 0.27577711];
const BILINEAR = 2;
const BICUBIC = 3;

/** transformers' image processors, with what each takes where `preprocessor_config.json` leaves a field out. */
const PROCESSORS: Readonly<Record<string, Processor>> = {
  ViT: { size: square(224), crop: null, resample: BILINEAR, mean: HALF, std: HALF, bareSizeIs: 'square' },
  DeiT: { size: square(256), crop: square(224), resample: BICUBIC, mean: HALF, std: HALF, bareSizeIs: 'square' },
  ConvNext: { size: { shortest: 384 }, crop: null, resample: BICUBIC, mean: HALF, std: HALF, bareSizeIs: 'shortest' },
  Bit: {
    size: { shortest: 224 },
    crop: square(224),
    resample: BICUBIC,
    mean: CLIP_MEAN,
    std: CLIP_STD,
    bareSizeIs: 'shortest',
  },
  CLIP: {
    size: { shortest: 224 },
    crop: square(224),
    resample: BICUBIC,
    mean: CLIP_MEAN,
    std: CLIP_STD,
    bareSizeIs: 'shortest',
  },
};

/** The processor of a class, where the file does not name one. */
const USUAL: Readonly<Record<string, string>> = {
  ViTForImageClassification: 'ViT',
  SwinForImageClassification: 'ViT',
  DeiTForImageClassificationWithTeacher: 'DeiT',
  ResNetForImageClassification: 'ConvNext',
  ConvNextForImageClassification: 'ConvNext',
  Dinov2ForImageClassification: 'Bit',
  Dinov2WithRegistersForImageClassification: 'Bit',
};

/**
 * What `preprocessor_config.json` does to an image, as a card says it.
 *
 * @param modelClass transformers' class, which names the processor where the file does not
 * @throws SightlineError UNSUPPORTED_MODEL for steps that a card cannot express, INVALID_CARD
 */
export function readTransformersPreprocessing(config: ConfigFields, modelClass: string): ModelInput {
  const field = config.has('image_processor_type') ? 'image_processor_type' : 'feature_extractor_type';
  const named = config
    .text(field, `${USUAL[modelClass] ?? ''}ImageProcessor`)
    .replace(/(?:ImageProcessor(?:Fast|Pil)?|FeatureExtractor)$/, '');
  const processor = Object.hasOwn(PROCESSORS, named) ? PROCESSORS[named]! : undefined;
  if (processor === undefined) {
    throw config.unsupported(
      field,
      `sightline knows the steps of ${Object.keys(PROCESSORS).join(', ')} image processors only`,
    );
  }

  if (!config.flag('do_resize', true)) {
    throw config.unsupported('do_resize', 'sightline always resizes images to what the model takes');
  }
  if (config.flag('do_pad', false)) throw config.unsupported('do_pad', 'sightline does not pad images');
  const size = readSize(config, 'size', processor.bareSizeIs, processor.size);
  return {
    ...(named === 'ConvNext' ? convnextGeometry(config, size) : geometry(config, processor, size)),
    interpolation: interpolationOf(config, processor),
    ...normalization(config, processor),
  };
}

function geometry(
  config: ConfigFields,
  processor: Processor,
  size: Size,
): Pick<ModelInput, 'width' | 'height' | 'resize' | 'crop'> {
  if (!config.flag('do_center_crop', processor.crop !== null)) {
    if ('shortest' in size) {
      throw config.unsupported('size', 'without a center crop (do_center_crop) that leaves images of different shapes');
    }
    return { ...size, resize: { mode: 'exact', size: [size.width, size.height] }, crop: 'none' };
  }
  const crop = readSize(config, 'crop_size', 'square', processor.crop ?? square(224));
  if ('shortest' in crop) throw config.unsupported('crop_size', 'a height and a width are expected');
  const least = 'shortest' in size ? [size.shortest, size.shortest] : [size.width, size.height];
  if (least[0]! < crop.width || least[1]! < crop.height) {
    throw config.unsupported('crop_size', 'that is more than the resized image has, and sightline does not pad images');
  }
  return {
    ...crop,
    resize:
      'shortest' in size
        ? { mode: 'shorter-side', size: size.shortest }
        : { mode: 'exact', size: [size.width, size.height] },
    crop: 'center',
  };
}

/** Below 384 px: the shorter side to size / crop_pct, then a center crop; from 384 on the whole image is squeezed. */
function convnextGeometry(config: ConfigFields, size: Size): Pick<ModelInput, 'width' | 'height' | 'resize' | 'crop'> {
  if (config.flag('do_center_crop', false)) {
    throw config.unsupported('do_center_crop', 'sightline knows a ConvNext image processor with its own crop only');
  }
  if (!('shortest' in size)) throw config.unsupported('size', 'a ConvNext image processor takes shortest_edge');
  const side = size.shortest;
  if (side >= 384) return { width: side, height: side, resize: { mode: 'exact', size: [side, side] }, crop: 'none' };
  const share = config.number('crop_pct', 224 / 256);
  if (share <= 0 || share > 1) throw config.invalid('crop_pct', 'a share above 0, at most 1,');
  return {
    width: side,
    height: side,
    resize: { mode: 'shorter-side', size: Math.trunc(side / share) },
    crop: 'center',
  };
}

function interpolationOf(config: ConfigFields, processor: Processor): ModelInput['interpolation'] {
  const resample = config.number('resample', processor.resample);
  if (resample === BILINEAR) return 'bilinear';
  if (resample === BICUBIC) return 'bicubic';
  throw config.unsupported('resample', 'sightline resizes by 2 (bilinear) or 3 (bicubic) only');
}

/**
 * Any scale folds into mean and deviation: (value * factor - mean) / std, where a card has (value / 255 - mean) / std.
 */
function normalization(config: ConfigFields, processor: Processor): Pick<ModelInput, 'mean' | 'std'> {
  const factor = config.flag('do_rescale', true) ? config.number('rescale_factor', 1 / 255) * 255 : 255;
  if (factor <= 0) throw config.invalid('rescale_factor', 'a number above 0');
  const isPlain = Math.abs(factor - 1) < 1e-6;
  const normalizes = config.flag('do_normalize', true);
  const scaled = (values: readonly number[]): Channels =>
    values.map((value) => (isPlain ? value : value / factor)) as Channels;
  return {
    mean: scaled(normalizes ? channels(config, 'image_mean', processor.mean) : [0, 0, 0]),
    std: scaled(normalizes ? channels(config, 'image_std', processor.std) : [1, 1, 1]),
  };
}

function channels(config: ConfigFields, field: string, otherwise: Channels): readonly number[] {
  const value =
    typeof config.get(field) === 'number'
      ? Array.from({ length: 3 }, () => config.number(field))
      : config.numbers(field, otherwise);
  if (value.length !== 3) throw config.unsupported(field, 'the graphs that sightline has take three channels');
  return value;
}

function readSize(config: ConfigFields, field: string, bareSizeIs: Processor['bareSizeIs'], otherwise: Size): Size {
  const value = config.get(field);
  if (value === undefined) return otherwise;
  if (typeof value === 'number') {
    return bareSizeIs === 'square' ? square(config.whole(field)) : { shortest: config.whole(field) };
  }
  if (Array.isArray(value)) {
    const [height, width] = config.numbers(field);
    if (!isSide(height) || !isSide(width)) throw config.invalid(field, '[height, width]');
    return { width, height };
  }
  const inside = config.inside(field);
  if (inside.has('longest_edge') || inside.has('max_height')) {
    throw config.unsupported(field, 'sightline resizes to a height and a width, or to a shortest_edge, only');
  }
  return inside.has('shortest_edge')
    ? { shortest: inside.whole('shortest_edge') }
    : { width: inside.whole('width'), height: inside.whole('height') };
}

function isSide(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0;
}

function square(side: number): { width: number; height: number } {
  return { width: side, height: side };
}
