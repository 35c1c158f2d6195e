import type { ModelInput } from '../models/card.js';
import type { ConfigFields } from './config-fields.js';
import { listLabels } from './class-labels.js';
import type { ConfiguredGraph } from './transformers-config.js';

/** A skeleton for one of timm's names, and with what its graph is made. */
interface Graph {
  readonly architecture: string;
  /** How tokens become one vector: the usual `global_pool`. */
  readonly pool: 'avg' | 'token' | 'map';
  /** px, of a graph that is made for one size. */
  readonly side?: number;
}

/** timm's names: the number at the end is the image's side. Variants with other blocks have other names. */
const SIZED: readonly (readonly [RegExp, string, Graph['pool']])[] = [
  [
    /^(vit_(?:tiny|small|base|large)_patch16|vit_base_patch(?:8|32)|vit_base_patch(?:16|32)_clip)_(\d+)$/,
    '$1',
    'token',
  ],
  [/^(vit_base_patch16_siglip)_(\d+)$/, '$1', 'map'],
  [/^(vit_base_patch16_siglip_gap)_(\d+)$/, '$1', 'avg'],
  [/^deit_(tiny|small|base)_patch16_(\d+)$/, 'vit_$1_patch16', 'token'],
  [/^(deit_(?:tiny|small|base)_distilled_patch16|deit3_(?:small|base)_patch16)_(\d+)$/, '$1', 'token'],
];
const FIXED: Readonly<Record<string, Graph>> = {
  swin_tiny_patch4_window7_224: { architecture: 'swin_tiny_patch4_window7', pool: 'avg', side: 224 },
  swin_small_patch4_window7_224: { architecture: 'swin_small_patch4_window7', pool: 'avg', side: 224 },
  swin_base_patch4_window7_224: { architecture: 'swin_base_patch4_window7', pool: 'avg', side: 224 },
  swinv2_tiny_window8_256: { architecture: 'swinv2_tiny_window8', pool: 'avg', side: 256 },
  swinv2_tiny_window16_256: { architecture: 'swinv2_tiny_window16', pool: 'avg', side: 256 },
  maxvit_tiny_tf_224: { architecture: 'maxvit_tiny_tf', pool: 'avg', side: 224 },
  beit_base_patch16_224: { architecture: 'beit_base_patch16', pool: 'avg', side: 224 },
  beitv2_base_patch16_224: { architecture: 'beit_base_patch16', pool: 'avg', side: 224 },
  eva02_base_patch14_448: { architecture: 'eva02_base_patch14', pool: 'avg', side: 448 },
};
/** Networks of convolutions, which take any size, by the name of their skeleton. */
const UNSIZED = [
  'resnet18',
  'resnet34',
  'resnet50',
  'resnet101',
  'wide_resnet50_2',
  'resnext50_32x4d',
  'convnext_tiny',
  'convnext_small',
  'convnext_base',
  'convnext_large',
  'convnextv2_tiny',
  'efficientnet_b0',
  'efficientnet_b1',
  'efficientnet_b2',
  'efficientnet_b3',
  'efficientnet_b4',
  'efficientnetv2_rw_s',
  'tf_efficientnetv2_s',
  'mobilenetv3_large_100',
  'mobilenetv3_small_100',
  'densenet121',
  'vgg16',
  'regnety_008',
  'regnety_040',
  'test_resnet',
  'test_convnext',
];

/** Arguments that leave the graph as it is when a model only predicts. */
const HARMLESS = [
  'num_classes',
  'drop_rate',
  'drop_path_rate',
  'proj_drop_rate',
  'attn_drop_rate',
  'pos_drop_rate',
  'patch_drop_rate',
  'head_drop_rate',
  'drop_block_rate',
];

/** Whether a `config.json` is timm's. */
export function isTimmConfig(config: ConfigFields): boolean {
  return typeof config.get('architecture') === 'string';
}

/**
 * The graph that timm's `config.json` describes.
 *
 * @throws SightlineError UNSUPPORTED_MODEL naming the field that no skeleton fits, INVALID_CARD
 */
export function readTimmConfig(config: ConfigFields): ConfiguredGraph {
  const name = config.text('architecture').split('.')[0]!;
  const graph = graphFor(name);
  if (graph === null) {
    throw config.unsupported('architecture', 'sightline has no graph for it; docs/pull.md lists those that it has');
  }
  const pretrained = pretrainedOf(config);
  requirePlainArguments(config.inside('model_args'), graph);
  config.require('global_pool', graph.pool, graph.pool);
  if ((config.get('num_classes') ?? pretrained.get('num_classes')) === 0) {
    throw config.unsupported('num_classes', 'a model without classes has nothing to explain');
  }
  const side = sideOf(config);
  if (graph.side !== undefined && side !== graph.side) {
    throw pretrained.unsupported(
      'input_size',
      `the graph that sightline has is made for ${graph.side} x ${graph.side}`,
    );
  }
  return {
    architecture: graph.architecture,
    imageSize: UNSIZED.includes(name) ? null : side,
    labels: labelsOf(config, pretrained),
  };
}

/**
 * The steps of timm's evaluation transform, as a card says them.
 *
 * @throws SightlineError UNSUPPORTED_MODEL, INVALID_CARD
 */
export function readTimmPreprocessing(config: ConfigFields): ModelInput {
  const pretrained = pretrainedOf(config);
  const side = sideOf(config);
  const mode = pretrained.text('crop_mode', 'center');
  if (mode !== 'center' && mode !== 'squash') {
    throw pretrained.unsupported('crop_mode', 'sightline crops by "center" and "squash" only');
  }
  const share = pretrained.number('crop_pct', 0.875);
  if (share <= 0 || share > 1) {
    throw pretrained.unsupported('crop_pct', 'sightline does not pad images: a share above 0, at most 1, is expected');
  }
  const interpolation = pretrained.text('interpolation', 'bicubic');
  if (interpolation !== 'bilinear' && interpolation !== 'bicubic') {
    throw pretrained.unsupported('interpolation', 'sightline resizes by "bilinear" or "bicubic" only');
  }
  const resized = Math.floor(side / share);
  return {
    width: side,
    height: side,
    mean: channels(pretrained, 'mean', [0.485, 0.456, 0.406]),
    std: channels(pretrained, 'std', [0.229, 0.224, 0.225]),
    resize: mode === 'squash' ? { mode: 'exact', size: [resized, resized] } : { mode: 'shorter-side', size: resized },
    interpolation,
    crop: mode === 'squash' && resized === side ? 'none' : 'center',
  };
}

function graphFor(name: string): Graph | null {
  if (Object.hasOwn(FIXED, name)) return FIXED[name]!;
  for (const [pattern, architecture, pool] of SIZED) {
    if (pattern.test(name)) return { architecture: name.replace(pattern, architecture), pool };
  }
  if (name === 'test_vit') return { architecture: name, pool: 'token' };
  return UNSIZED.includes(name) ? { architecture: name, pool: 'avg' } : null;
}

/** Files of timm's first years have these fields at the top. */
function pretrainedOf(config: ConfigFields): ConfigFields {
  return config.has('pretrained_cfg') ? config.inside('pretrained_cfg') : config;
}

function requirePlainArguments(given: ConfigFields, { pool }: Graph): void {
  for (const field of Object.keys(given.fields)) {
    // The image's side is read by itself.
    if (HARMLESS.includes(field) || field === 'img_size' || !given.has(field)) continue;
    if (field === 'in_chans') given.require(field, 3, 3);
    else if (field === 'global_pool') given.require(field, pool, '');
    else throw given.unsupported(field, 'the graph that sightline has is made with the usual arguments');
  }
}

/**
 * Side of the square images in px. A model that was made for another size than its first weights says so in model_args.
 */
function sideOf(config: ConfigFields): number {
  const pretrained = pretrainedOf(config);
  const given = config.inside('model_args');
  if (typeof given.get('img_size') === 'number') return given.whole('img_size');
  const [source, field] = given.has('img_size') ? [given, 'img_size'] : [pretrained, 'input_size'];
  const size = source.numbers(field, [3, 224, 224]);
  if (size.length === 3 && size[0] !== 3) {
    throw source.unsupported(field, 'the graphs that sightline has take three channels');
  }
  const [height, width] = size.slice(-2);
  if (!Number.isSafeInteger(height) || height! <= 0) throw source.invalid(field, 'a height and a width');
  if (height !== width) throw source.unsupported(field, 'sightline has graphs for square images only');
  return height!;
}

function channels(
  config: ConfigFields,
  field: string,
  otherwise: readonly [number, number, number],
): [number, number, number] {
  const value = config.numbers(field, otherwise);
  if (value.length !== 3) throw config.unsupported(field, 'the graphs that sightline has take three channels');
  return [...value] as [number, number, number];
}

/**
 * `label_names` by class (a list, or an object by number), put into words by `label_descriptions` where these are
 * there.
 */
function labelsOf(config: ConfigFields, pretrained: ConfigFields): string[] | null {
  const of = (field: string): unknown => config.get(field) ?? pretrained.get(field);
  const names = of('label_names') ?? of('labels');
  if (names === undefined) return null;
  if (typeof names !== 'object') throw config.invalid('label_names', 'a list');
  const classes = config.get('num_classes') ?? pretrained.get('num_classes');
  const labels = listLabels(
    { ...(names as object) },
    `${config.name}, field label_names,`,
    Number.isSafeInteger(classes) ? (classes as number) : 0,
  );
  const descriptions = of('label_descriptions');
  if (typeof descriptions !== 'object' || descriptions === null) return labels;
  return labels.map((label) => {
    const description = Object.hasOwn(descriptions, label)
      ? (descriptions as Record<string, unknown>)[label]
      : undefined;
    return typeof description === 'string' ? description : label;
  });
}
