import type { ConfigFields } from './config-fields.js';
import { listLabels } from './class-labels.js';

/** What a config says of the graph. */
export interface ConfiguredGraph {
  /** Name of the skeleton. */
  readonly architecture: string;
  readonly layerNormEps?: number;
  /** Side in px of the images that the weights are made for; null where they take any. */
  readonly imageSize: number | null;
  readonly labels: readonly string[] | null;
}

/** The classes that a skeleton stands for, and what it is that tells the skeletons apart. */
const CLASSES: Readonly<Record<string, (config: ConfigFields) => Omit<ConfiguredGraph, 'labels'>>> = {
  ViTForImageClassification: vit,
  DeiTForImageClassificationWithTeacher: distilledDeit,
  ResNetForImageClassification: resnet,
  ConvNextForImageClassification: convnext,
  SwinForImageClassification: swin,
  Dinov2ForImageClassification: (config) => dinov2(config, false),
  Dinov2WithRegistersForImageClassification: (config) => dinov2(config, true),
};

/** The class that transformers' `config.json` names; null where it is not such a file. */
export function transformersClass(config: ConfigFields): string | null {
  const named = config.get('architectures');
  return Array.isArray(named) && typeof named[0] === 'string' ? named[0] : null;
}

/**
 * The graph that transformers' `config.json` describes. A field that is not there has the value that transformers'
 * own configuration class gives it.
 *
 * @throws SightlineError UNSUPPORTED_MODEL naming the field that no skeleton fits, INVALID_CARD
 */
export function readTransformersConfig(config: ConfigFields): ConfiguredGraph {
  const name = transformersClass(config) ?? '';
  const read = Object.hasOwn(CLASSES, name) ? CLASSES[name] : undefined;
  if (name === 'DeiTForImageClassification') {
    // Its distillation token takes part in the attention, but only the class token is read: neither plain nor
    // distilled.
    throw config.unsupported(
      'architectures',
      'this class reads only one of its two tokens, for which sightline has no graph (DeiTForImageClassificationWithTeacher and ViTForImageClassification it has)',
    );
  }
  if (read === undefined) {
    throw config.unsupported('architectures', `sightline has graphs for ${Object.keys(CLASSES).join(', ')} only`);
  }
  config.require('num_channels', 3, 3);
  const labels = config.has('id2label')
    ? listLabels(config.inside('id2label').fields, `${config.name}, field id2label,`)
    : null;
  return { ...read(config), labels };
}

function vit(config: ConfigFields): Omit<ConfiguredGraph, 'labels'> {
  const { size, patch } = transformer(config, { tiny: 192, small: 384, base: 768, large: 1024 });
  if (patch !== 16 && !((patch === 8 || patch === 32) && size === 'base')) {
    throw config.unsupported('patch_size', 'sightline has graphs for 16, and for 8 and 32 with hidden_size 768, only');
  }
  return {
    architecture: `vit_${size}_patch${patch}`,
    layerNormEps: config.number('layer_norm_eps', 1e-12),
    imageSize: squareSize(config),
  };
}

function distilledDeit(config: ConfigFields): Omit<ConfiguredGraph, 'labels'> {
  const { size } = transformer(config, { tiny: 192, small: 384, base: 768 });
  config.require('patch_size', 16, 16);
  return {
    architecture: `deit_${size}_distilled_patch16`,
    layerNormEps: config.number('layer_norm_eps', 1e-12),
    imageSize: squareSize(config),
  };
}

function dinov2(config: ConfigFields, registers: boolean): Omit<ConfiguredGraph, 'labels'> {
  const { size } = transformer(config, { small: 384, base: 768 }, false);
  config.require('patch_size', 14, 16);
  config.require('mlp_ratio', 4, 4);
  config.require('use_swiglu_ffn', false, false);
  if (registers) config.require('num_register_tokens', 4, 4);
  // Positions are interpolated to whatever image comes.
  return {
    architecture: `dinov2_${size}${registers ? '_registers' : ''}`,
    layerNormEps: config.number('layer_norm_eps', 1e-6),
    imageSize: null,
  };
}

/**
 * What all plain transformers share; heads are 64 wide, the hidden layer is four times as wide, and it is 12 blocks
 * deep (24 for large).
 */
function transformer(
  config: ConfigFields,
  widths: Readonly<Record<string, number>>,
  hasIntermediate = true,
): { size: string; patch: number } {
  const width = config.whole('hidden_size', 768);
  const size = Object.keys(widths).find((each) => widths[each] === width);
  if (size === undefined) {
    throw config.unsupported('hidden_size', `sightline has graphs for ${Object.values(widths).join(', ')} only`);
  }
  config.require('num_hidden_layers', size === 'large' ? 24 : 12, 12);
  config.require('num_attention_heads', width / 64, 12);
  if (hasIntermediate) config.require('intermediate_size', 4 * width, 3072);
  config.require('hidden_act', 'gelu', 'gelu');
  config.require('qkv_bias', true, true);
  return { size, patch: config.whole('patch_size', 16) };
}

const RESNETS: Readonly<Record<string, string>> = {
  'basic 2,2,2,2': 'resnet18',
  'basic 3,4,6,3': 'resnet34',
  'bottleneck 3,4,6,3': 'resnet50',
  'bottleneck 3,4,23,3': 'resnet101',
};

function resnet(config: ConfigFields): Omit<ConfiguredGraph, 'labels'> {
  const type = config.text('layer_type', 'bottleneck');
  const depths = config.numbers('depths', [3, 4, 6, 3]).join();
  const architecture = RESNETS[`${type} ${depths}`];
  if (architecture === undefined) {
    throw config.unsupported(
      'depths',
      `with layer_type ${JSON.stringify(type)} sightline has graphs for ResNet-18, 34, 50 and 101 only`,
    );
  }
  requireList(
    config,
    'hidden_sizes',
    type === 'basic' ? [64, 128, 256, 512] : [256, 512, 1024, 2048],
    [256, 512, 1024, 2048],
  );
  config.require('embedding_size', 64, 64);
  config.require('hidden_act', 'relu', 'relu');
  config.require('downsample_in_first_stage', false, false);
  config.require('downsample_in_bottleneck', false, false);
  return { architecture, imageSize: null };
}

const CONVNEXTS: Readonly<Record<string, string>> = {
  '3,3,9,3 96,192,384,768': 'convnext_tiny',
  '3,3,27,3 96,192,384,768': 'convnext_small',
  '3,3,27,3 128,256,512,1024': 'convnext_base',
  '3,3,27,3 192,384,768,1536': 'convnext_large',
};

function convnext(config: ConfigFields): Omit<ConfiguredGraph, 'labels'> {
  const depths = config.numbers('depths', [3, 3, 9, 3]).join();
  const widths = config.numbers('hidden_sizes', [96, 192, 384, 768]).join();
  const architecture = CONVNEXTS[`${depths} ${widths}`];
  if (architecture === undefined) {
    throw config.unsupported('hidden_sizes', 'sightline has graphs for ConvNeXt tiny, small and base only');
  }
  config.require('patch_size', 4, 4);
  config.require('hidden_act', 'gelu', 'gelu');
  // At 0 the class leaves the scales out, and with them the tensors.
  if (config.number('layer_scale_init_value', 1e-6) <= 0) {
    throw config.unsupported('layer_scale_init_value', 'the graph that sightline has is made with layer scales');
  }
  return { architecture, imageSize: null };
}

function swin(config: ConfigFields): Omit<ConfiguredGraph, 'labels'> {
  const width = config.whole('embed_dim', 96);
  if (width !== 96 && width !== 128) {
    throw config.unsupported('embed_dim', 'sightline has graphs for 96 (tiny, small) and 128 (base) only');
  }
  const isTiny = width === 96 && config.numbers('depths', [2, 2, 6, 2])[2] === 6;
  requireList(config, 'depths', isTiny ? [2, 2, 6, 2] : [2, 2, 18, 2], [2, 2, 6, 2]);
  requireList(config, 'num_heads', width === 96 ? [3, 6, 12, 24] : [4, 8, 16, 32], [3, 6, 12, 24]);
  config.require('patch_size', 4, 4);
  config.require('window_size', 7, 7);
  config.require('mlp_ratio', 4, 4);
  config.require('qkv_bias', true, true);
  config.require('use_absolute_embeddings', false, false);
  config.require('hidden_act', 'gelu', 'gelu');
  // Some of its norms follow the field and others do not.
  config.require('layer_norm_eps', 1e-5, 1e-5);
  // Windows and their masks are part of the graph.
  config.require('image_size', 224, 224);
  const size = width === 128 ? 'base' : isTiny ? 'tiny' : 'small';
  return { architecture: `swin_${size}_patch4_window7`, imageSize: 224 };
}

function requireList(
  config: ConfigFields,
  field: string,
  values: readonly number[],
  otherwise: readonly number[],
): void {
  if (config.numbers(field, otherwise).join() !== values.join()) {
    throw config.unsupported(field, `the graph that sightline has is made for ${JSON.stringify(values)}`);
  }
}

function squareSize(config: ConfigFields): number {
  const value = config.get('image_size') ?? 224;
  const [height, width] = Array.isArray(value) ? (value as unknown[]) : [value, value];
  if (!Number.isSafeInteger(height) || (height as number) <= 0) {
    throw config.invalid('image_size', 'a whole number above 0');
  }
  if (height !== width) throw config.unsupported('image_size', 'sightline has graphs for square images only');
  return height as number;
}
