import type { Naming } from '../models/card.js';

/** Where a checkpoint's tensor goes. */
export interface Place {
  /** Tensor of the skeleton. */
  readonly name: string;
  /** Of a tensor that is joined from several, which: query 0, key 1, value 2. */
  readonly part: number;
  /** How many there are: 1 where it is not joined. */
  readonly parts: number;
}

/**
 * A regular expression over the whole key, and the skeleton's name with `$1`, `$2`, ...; null for what inference does
 * not read.
 */
type Rule = readonly [RegExp, string | null | ((groups: readonly string[]) => Place | string)];

type Family =
  | 'resnet'
  | 'convnext'
  | 'vit'
  | 'deit'
  | 'deit3'
  | 'dinov2'
  | 'swin'
  | 'swinv2'
  | 'densenet'
  | 'rotary'
  | 'relative'
  | 'lite'
  | 'plain';

const PARTS: Readonly<Record<string, number>> = { q: 0, k: 1, v: 2, query: 0, key: 1, value: 2 };

/** The separate query, key and value of Hugging Face, for a skeleton that holds them joined in this order. */
function joined(name: string, which: string): Place {
  return { name, part: PARTS[which]!, parts: 3 };
}

const next = (index: string): string => String(Number(index) + 1);

/** torchvision's ViT. The second names of the two linear layers are those of its first release. */
const TORCHVISION_VIT: readonly Rule[] = [
  [/class_token/, 'cls_token'],
  [/conv_proj\.(.+)/, 'patch_embed.proj.$1'],
  [/encoder\.pos_embedding/, 'pos_embed'],
  [/encoder\.layers\.encoder_layer_(\d+)\.ln_([12])\.(.+)/, 'blocks.$1.norm$2.$3'],
  [/encoder\.layers\.encoder_layer_(\d+)\.self_attention\.in_proj_(weight|bias)/, 'blocks.$1.attn.qkv.$2'],
  [/encoder\.layers\.encoder_layer_(\d+)\.self_attention\.out_proj\.(.+)/, 'blocks.$1.attn.proj.$2'],
  [/encoder\.layers\.encoder_layer_(\d+)\.mlp\.(?:0|linear_1)\.(.+)/, 'blocks.$1.mlp.fc1.$2'],
  [/encoder\.layers\.encoder_layer_(\d+)\.mlp\.(?:3|linear_2)\.(.+)/, 'blocks.$1.mlp.fc2.$2'],
  [/encoder\.ln\.(.+)/, 'norm.$1'],
  [/heads\.head\.(.+)/, 'head.$1'],
];

/** Stages have odd numbers from 1, the merging before the next one even numbers. */
const stage = (feature: string): number => (Number(feature) - 1) / 2;

const TORCHVISION_SWIN: readonly Rule[] = [
  [/features\.0\.0\.(.+)/, 'patch_embed.proj.$1'],
  [/features\.0\.2\.(.+)/, 'patch_embed.norm.$1'],
  [/features\.[1357]\.\d+\.attn\.relative_position_index/, null],
  [
    /features\.([1357])\.(\d+)\.mlp\.0\.(.+)/,
    ([at, block, leaf]) => `layers.${stage(at!)}.blocks.${block}.mlp.fc1.${leaf}`,
  ],
  [
    /features\.([1357])\.(\d+)\.mlp\.3\.(.+)/,
    ([at, block, leaf]) => `layers.${stage(at!)}.blocks.${block}.mlp.fc2.${leaf}`,
  ],
  [
    /features\.([1357])\.(\d+)\.((?:norm|attn).+)/,
    ([at, block, rest]) => `layers.${stage(at!)}.blocks.${block}.${rest}`,
  ],
  [/features\.([246])\.(.+)/, ([at, rest]) => `layers.${Number(at) / 2}.downsample.${rest}`],
  [/norm\.(.+)/, 'norm.$1'],
  [/head\.(.+)/, 'head.fc.$1'],
];

const TORCHVISION_CONVNEXT: readonly Rule[] = [
  [/features\.0\.([01])\.(.+)/, 'stem.$1.$2'],
  [/features\.([1357])\.(\d+)\.layer_scale/, ([at, block]) => `stages.${stage(at!)}.blocks.${block}.gamma`],
  [
    /features\.([1357])\.(\d+)\.block\.([0235])\.(.+)/,
    ([at, block, layer, leaf]) =>
      `stages.${stage(at!)}.blocks.${block}.${{ 0: 'conv_dw', 2: 'norm', 3: 'mlp.fc1', 5: 'mlp.fc2' }[layer!]}.${leaf}`,
  ],
  [/features\.([246])\.([01])\.(.+)/, ([at, layer, leaf]) => `stages.${Number(at) / 2}.downsample.${layer}.${leaf}`],
  [/classifier\.0\.(.+)/, 'head.norm.$1'],
  [/classifier\.2\.(.+)/, 'head.fc.$1'],
];

/**
 * transformers' ViT and DeiT. Files on the hub have the names that its releases up to 4 gave
 * (`encoder.layer.0.attention. attention.query`), models of release 5 call theirs `layers.0.attention.q_proj`.
 */
const HUGGINGFACE_ENCODER: readonly Rule[] = [
  [/(?:vit|deit)\.embeddings\.cls_token/, 'cls_token'],
  [/(?:vit|deit)\.embeddings\.position_embeddings/, 'pos_embed'],
  [/(?:vit|deit)\.embeddings\.mask_token/, null],
  [/(?:vit|deit)\.embeddings\.patch_embeddings\.projection\.(.+)/, 'patch_embed.proj.$1'],
  [
    /(?:vit|deit)\.(?:encoder\.layer|layers)\.(\d+)\.attention\.(?:attention\.(query|key|value)|([qkv])_proj)\.(weight|bias)/,
    ([block, long, short, leaf]) => joined(`blocks.${block}.attn.qkv.${leaf}`, long ?? short!),
  ],
  [
    /(?:vit|deit)\.(?:encoder\.layer|layers)\.(\d+)\.attention\.(?:output\.dense|o_proj)\.(.+)/,
    'blocks.$1.attn.proj.$2',
  ],
  [/(?:vit|deit)\.(?:encoder\.layer|layers)\.(\d+)\.layernorm_before\.(.+)/, 'blocks.$1.norm1.$2'],
  [/(?:vit|deit)\.(?:encoder\.layer|layers)\.(\d+)\.layernorm_after\.(.+)/, 'blocks.$1.norm2.$2'],
  [/(?:vit|deit)\.(?:encoder\.layer|layers)\.(\d+)\.(?:intermediate\.dense|mlp\.fc1)\.(.+)/, 'blocks.$1.mlp.fc1.$2'],
  [/(?:vit|deit)\.(?:encoder\.layer|layers)\.(\d+)\.(?:output\.dense|mlp\.fc2)\.(.+)/, 'blocks.$1.mlp.fc2.$2'],
  [/(?:vit|deit)\.layernorm\.(.+)/, 'norm.$1'],
  // A layer that older releases saved with the classifier, which does not use it.
  [/(?:vit|deit)\.pooler\.dense\.(?:weight|bias)/, null],
];

const HUGGINGFACE_VIT: readonly Rule[] = [...HUGGINGFACE_ENCODER, [/classifier\.(.+)/, 'head.$1']];

const HUGGINGFACE_DEIT: readonly Rule[] = [
  ...HUGGINGFACE_ENCODER,
  [/deit\.embeddings\.distillation_token/, 'dist_token'],
  [/cls_classifier\.(.+)/, 'head.$1'],
  [/distillation_classifier\.(.+)/, 'head_dist.$1'],
];

/** The skeleton is transformers' own model, under the names of its release 5. */
const HUGGINGFACE_DINOV2: readonly Rule[] = [
  [
    /(dinov2\w*\.encoder\.layer\.\d+)\.attention\.attention\.(query|key|value)\.(.+)/,
    ([block, which, leaf]) => `${block}.attention.${which![0]}_proj.${leaf}`,
  ],
  [/(dinov2\w*\.encoder\.layer\.\d+)\.attention\.output\.dense\.(.+)/, '$1.attention.o_proj.$2'],
  [/(dinov2\w*\..+|classifier\..+)/, '$1'],
];

const HUGGINGFACE_SWIN: readonly Rule[] = [
  [/swin\.embeddings\.patch_embeddings\.projection\.(.+)/, 'patch_embed.proj.$1'],
  [/swin\.embeddings\.norm\.(.+)/, 'patch_embed.norm.$1'],
  [
    /swin\.encoder\.layers\.\d+\.blocks\.\d+\.attention\.(?:self\.|relative_position_bias\.)?relative_position_index/,
    null,
  ],
  [
    /swin\.encoder\.layers\.(\d+)\.blocks\.(\d+)\.attention\.(?:self\.|relative_position_bias\.)relative_position_bias_table/,
    'layers.$1.blocks.$2.attn.relative_position_bias_table',
  ],
  [
    /swin\.encoder\.layers\.(\d+)\.blocks\.(\d+)\.attention\.(?:self\.(query|key|value)|([qkv])_proj)\.(weight|bias)/,
    ([at, block, long, short, leaf]) => joined(`layers.${at}.blocks.${block}.attn.qkv.${leaf}`, long ?? short!),
  ],
  [
    /swin\.encoder\.layers\.(\d+)\.blocks\.(\d+)\.attention\.(?:output\.dense|o_proj)\.(.+)/,
    'layers.$1.blocks.$2.attn.proj.$3',
  ],
  [/swin\.encoder\.layers\.(\d+)\.blocks\.(\d+)\.layernorm_before\.(.+)/, 'layers.$1.blocks.$2.norm1.$3'],
  [/swin\.encoder\.layers\.(\d+)\.blocks\.(\d+)\.layernorm_after\.(.+)/, 'layers.$1.blocks.$2.norm2.$3'],
  [
    /swin\.encoder\.layers\.(\d+)\.blocks\.(\d+)\.(?:intermediate\.dense|mlp\.fc1)\.(.+)/,
    'layers.$1.blocks.$2.mlp.fc1.$3',
  ],
  [/swin\.encoder\.layers\.(\d+)\.blocks\.(\d+)\.(?:output\.dense|mlp\.fc2)\.(.+)/, 'layers.$1.blocks.$2.mlp.fc2.$3'],
  // transformers merges patches at a stage's end, timm at the next one's beginning.
  [/swin\.encoder\.layers\.(\d+)\.downsample\.(.+)/, ([at, rest]) => `layers.${next(at!)}.downsample.${rest}`],
  [/swin\.layernorm\.(.+)/, 'norm.$1'],
  [/classifier\.(.+)/, 'head.fc.$1'],
];

const HUGGINGFACE_RESNET: readonly Rule[] = [
  [/resnet\.embedder\.embedder\.convolution\.(.+)/, 'conv1.$1'],
  [/resnet\.embedder\.embedder\.normalization\.(.+)/, 'bn1.$1'],
  [
    /resnet\.encoder\.stages\.(\d+)\.layers\.(\d+)\.shortcut\.convolution\.(.+)/,
    ([at, block, leaf]) => `layer${next(at!)}.${block}.downsample.0.${leaf}`,
  ],
  [
    /resnet\.encoder\.stages\.(\d+)\.layers\.(\d+)\.shortcut\.normalization\.(.+)/,
    ([at, block, leaf]) => `layer${next(at!)}.${block}.downsample.1.${leaf}`,
  ],
  [
    /resnet\.encoder\.stages\.(\d+)\.layers\.(\d+)\.layer\.(\d)\.convolution\.(.+)/,
    ([at, block, layer, leaf]) => `layer${next(at!)}.${block}.conv${next(layer!)}.${leaf}`,
  ],
  [
    /resnet\.encoder\.stages\.(\d+)\.layers\.(\d+)\.layer\.(\d)\.normalization\.(.+)/,
    ([at, block, layer, leaf]) => `layer${next(at!)}.${block}.bn${next(layer!)}.${leaf}`,
  ],
  [/classifier\.1\.(.+)/, 'fc.$1'],
];

const HUGGINGFACE_CONVNEXT: readonly Rule[] = [
  [/convnext\.embeddings\.patch_embeddings\.(.+)/, 'stem.0.$1'],
  [/convnext\.embeddings\.layernorm\.(.+)/, 'stem.1.$1'],
  [/convnext\.encoder\.stages\.(\d+)\.downsampling_layer\.([01])\.(.+)/, 'stages.$1.downsample.$2.$3'],
  [/convnext\.encoder\.stages\.(\d+)\.layers\.(\d+)\.layer_scale_parameter/, 'stages.$1.blocks.$2.gamma'],
  [/convnext\.encoder\.stages\.(\d+)\.layers\.(\d+)\.dwconv\.(.+)/, 'stages.$1.blocks.$2.conv_dw.$3'],
  [/convnext\.encoder\.stages\.(\d+)\.layers\.(\d+)\.layernorm\.(.+)/, 'stages.$1.blocks.$2.norm.$3'],
  [/convnext\.encoder\.stages\.(\d+)\.layers\.(\d+)\.pwconv([12])\.(.+)/, 'stages.$1.blocks.$2.mlp.fc$3.$4'],
  [/convnext\.layernorm\.(.+)/, 'head.norm.$1'],
  [/classifier\.(.+)/, 'head.fc.$1'],
];

const SAME: readonly Rule[] = [[/(.+)/, '$1']];

/** Buffers that timm's own loader passes over too: the skeleton has its own. */
const TIMM_SWIN: readonly Rule[] = [[/.+\.(?:relative_position_index|relative_coords_table|attn_mask)/, null], ...SAME];
const TIMM_RELATIVE: readonly Rule[] = [[/.+\.relative_position_index/, null], ...SAME];
const TIMM_ROTARY: readonly Rule[] = [[/(?:.+\.)?rope\..+/, null], ...SAME];

/** DeiT III by Facebook's names too, which timm's loader takes. */
const TIMM_DEIT3: readonly Rule[] = [[/blocks\.(\d+)\.gamma_([12])/, 'blocks.$1.ls$2.gamma'], ...SAME];

/** timm's Swin up to release 0.8: merging at a stage's end, the head without a pooling layer of its own. */
const TIMM_SWIN_BEFORE_0_9: readonly Rule[] = [
  TIMM_SWIN[0]!,
  [/layers\.(\d+)\.downsample\.(.+)/, ([at, rest]) => `layers.${next(at!)}.downsample.${rest}`],
  [/head\.(weight|bias)/, 'head.fc.$1'],
  ...SAME,
];

const RULES: Readonly<Record<Naming, Partial<Record<Family, readonly Rule[]>>>> = {
  timm: {
    resnet: SAME,
    convnext: SAME,
    vit: SAME,
    deit: SAME,
    deit3: TIMM_DEIT3,
    swin: TIMM_SWIN,
    swinv2: TIMM_SWIN,
    densenet: SAME,
    rotary: TIMM_ROTARY,
    relative: TIMM_RELATIVE,
    plain: SAME,
  },
  torchvision: {
    resnet: SAME,
    densenet: SAME,
    convnext: TORCHVISION_CONVNEXT,
    vit: TORCHVISION_VIT,
    swin: TORCHVISION_SWIN,
  },
  huggingface: {
    resnet: HUGGINGFACE_RESNET,
    convnext: HUGGINGFACE_CONVNEXT,
    vit: HUGGINGFACE_VIT,
    deit: HUGGINGFACE_DEIT,
    dinov2: HUGGINGFACE_DINOV2,
    swin: HUGGINGFACE_SWIN,
  },
  sightline: { lite: SAME },
};

/** Which library's definition an architecture follows, by its name. */
function familyOf(architecture: string): Family {
  return FAMILIES.find(([names]) => names.test(architecture))?.[1] ?? 'plain';
}

/** `plain` are those that timm alone names. */
const FAMILIES: readonly (readonly [RegExp, Family])[] = [
  [/resne[x]?t/, 'resnet'],
  [/convnext(?!v2)/, 'convnext'],
  [/^efficientnet_lite/, 'lite'],
  [/^deit3_/, 'deit3'],
  [/^deit_/, 'deit'],
  [/^dinov2_/, 'dinov2'],
  [/^(?:dinov3|eva02)_/, 'rotary'],
  [/^(?:beit|maxvit)_/, 'relative'],
  [/^swinv2_/, 'swinv2'],
  [/^swin_/, 'swin'],
  [/^densenet/, 'densenet'],
  [/^(?:vit_(?:tiny|small|base|large)_patch\d+|test_vit)$/, 'vit'],
];

/** The namings in which checkpoints of an architecture come. */
export function namingsOf(architecture: string): Naming[] {
  const family = familyOf(architecture);
  return (Object.keys(RULES) as Naming[]).filter((naming) => RULES[naming][family] !== undefined);
}

/**
 * Where every tensor of a checkpoint goes: a place, null for what inference does not read, undefined for what the
 * naming does not know.
 */
export function keyMap(
  architecture: string,
  naming: Naming,
  keys: Iterable<string>,
): Map<string, Place | null | undefined> {
  const family = familyOf(architecture);
  const all = [...keys];
  const bare = withoutPrefixes(all);
  const isOldSwin = naming === 'timm' && family.startsWith('swin') && [...bare.values()].includes('head.weight');
  const rules = isOldSwin ? TIMM_SWIN_BEFORE_0_9 : (RULES[naming][family] ?? []);
  return new Map(all.map((key) => [key, place(rules, bare.get(key)!)]));
}

/** What trainers, several GPUs and torch.compile put before every name, also several: `module._orig_mod.model.`. */
const PREFIXES = ['module.', 'model.', 'backbone.', '_orig_mod.'];

/** Names without what all of them begin with. */
function withoutPrefixes(keys: readonly string[]): Map<string, string> {
  let bare = keys;
  for (;;) {
    const prefix = PREFIXES.find((each) => bare.length > 0 && bare.every((key) => key.startsWith(each)));
    if (prefix === undefined) return new Map(keys.map((key, i) => [key, bare[i]!]));
    bare = bare.map((key) => key.slice(prefix.length));
  }
}

const wholes = new Map<RegExp, RegExp>();

/** The expression over the whole key; made once, as a checkpoint is compared with every architecture. */
function whole(pattern: RegExp): RegExp {
  let found = wholes.get(pattern);
  if (found === undefined) wholes.set(pattern, (found = new RegExp(`^(?:${pattern.source})$`)));
  return found;
}

function place(rules: readonly Rule[], key: string): Place | null | undefined {
  for (const [pattern, to] of rules) {
    const match = whole(pattern).exec(key);
    if (match === null) continue;
    if (to === null) return null;
    const target =
      typeof to === 'string' ? to.replace(/\$(\d)/g, (_, group: string) => match[Number(group)]!) : to(match.slice(1));
    return typeof target === 'string' ? { name: target, part: 0, parts: 1 } : target;
  }
  return undefined;
}
