import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { cardOfRepository, chooseWeights } from '../../lib/hub/repository-card.js';
import { readImagenetLabels } from '../../lib/models/labels.js';
import { inputGeometry } from '../../lib/images/geometry.js';
import { parseCard } from '../../lib/models/card.js';
import { VIT_CONFIG, VIT_PREPROCESSOR } from './fixtures.js';

type Fields = Record<string, unknown>;

/** As write_configs.py leaves it. */
interface Written {
  readonly config: Fields;
  readonly preprocessor: Fields | null;
  readonly samples: readonly {
    readonly picture: [number, number];
    readonly result: [number, number];
    readonly x: number;
    readonly y: number;
    readonly values: [number, number, number];
  }[];
}

const FOLDER = join(import.meta.dirname, 'configs');

function written(name: string): Written {
  return JSON.parse(readFileSync(join(FOLDER, `${name}.json`), 'utf8')) as Written;
}

function cardOf(config: Fields, preprocessor: Fields | null) {
  return cardOfRepository({
    repository: 'me/model',
    revision: 'main',
    config: JSON.stringify(config),
    preprocessor: preprocessor === null ? null : JSON.stringify(preprocessor),
    weights: 'model.safetensors',
  });
}

describe('what the libraries themselves write', () => {
  it.each([
    [
      'transformers-vit',
      {
        architecture: 'vit_small_patch16',
        weights: { naming: 'huggingface', layerNormEps: 1e-12 },
        labels: ['rose', 'tulip', 'daisy'],
      },
    ],
    [
      'transformers-deit',
      { architecture: 'deit_tiny_distilled_patch16', weights: { naming: 'huggingface', layerNormEps: 1e-12 } },
    ],
    ['transformers-resnet', { architecture: 'resnet18', weights: { naming: 'huggingface' }, targetLayer: 'layer4' }],
    [
      'transformers-convnext',
      {
        architecture: 'convnext_tiny',
        input: { width: 384, resize: { mode: 'exact', size: [384, 384] }, crop: 'none' },
      },
    ],
    ['transformers-swin', { architecture: 'swin_base_patch4_window7', input: { interpolation: 'bicubic' } }],
    [
      'transformers-dinov2',
      {
        architecture: 'dinov2_small',
        weights: { layerNormEps: 1e-6 },
        input: { width: 224, resize: { mode: 'shorter-side', size: 256 } },
      },
    ],
    ['transformers-dinov2-registers', { architecture: 'dinov2_base_registers' }],
    ['timm-resnet50', { architecture: 'resnet50', weights: { naming: 'timm' } }],
    ['timm-resnext', { architecture: 'resnext50_32x4d' }],
    [
      'timm-vit',
      {
        architecture: 'vit_tiny_patch16',
        labels: ['rose', 'tulip', 'daisy'],
        input: { resize: { mode: 'shorter-side', size: 248 }, interpolation: 'bicubic', mean: [0.5, 0.5, 0.5] },
      },
    ],
    ['timm-vit-384', { architecture: 'vit_small_patch16', input: { width: 384, height: 384 } }],
    ['timm-vit-resized', { architecture: 'vit_tiny_patch16', input: { width: 160, height: 160 } }],
    ['timm-deit', { architecture: 'deit_tiny_distilled_patch16' }],
    ['timm-convnext', { architecture: 'convnext_tiny', input: { crop: 'none', interpolation: 'bilinear' } }],
    ['timm-swin', { architecture: 'swin_tiny_patch4_window7' }],
    ['timm-test-vit', { architecture: 'test_vit', input: { width: 160 } }],
    [
      'timm-test-resnet',
      { architecture: 'test_resnet', input: { resize: { mode: 'exact', size: [177, 177] }, crop: 'center' } },
    ],
  ])('is understood: %s', async (name, expected) => {
    const { config, preprocessor } = written(name);
    const card = await cardOf(config, preprocessor);
    expect(card).toMatchObject(expected);
    expect(parseCard(structuredClone(card), name)).toEqual(card);
  });

  it.each(readdirSync(FOLDER).map((file) => file.replace('.json', '')))(
    'places and scales pixels as the library does: %s',
    async (name) => {
      const { config, preprocessor, samples } = written(name);
      const { input } = await cardOf(config, preprocessor);
      let worst = 0;
      for (const { picture, result, x, y, values } of samples) {
        expect([input.width, input.height]).toEqual(result);
        const { box } = inputGeometry(picture[0], picture[1], input);
        // The picture's red and green tell the place that a pixel came from; its blue is 100.
        const from = (offset: number, length: number, at: number, of: number, whole: number): number =>
          (255 * (offset + ((at + 0.5) * length) / of - 0.5)) / (whole - 1);
        const expected = [
          from(box.left, box.width, x, result[0], picture[0]),
          from(box.top, box.height, y, result[1], picture[1]),
          100,
        ];
        const found = values.map((value, channel) => 255 * (value * input.std[channel]! + input.mean[channel]!));
        found.forEach(
          (value, channel) =>
            (worst = Math.max(worst, Math.abs(value - Math.min(255, Math.max(0, expected[channel]!))))),
        );
      }
      // In grey levels: two roundings to whole ones. Where a crop begins at half a pixel, as in one of the pictures,
      // transformers cuts the half off and the others round to the even neighbour: a pixel, which is three quarters of
      // a level.
      expect(worst).toBeLessThan(name.startsWith('timm') ? 1 : 1.1);
    },
  );
});

describe('older and odder files', () => {
  const vit = JSON.parse(VIT_CONFIG) as Fields;
  const steps = JSON.parse(VIT_PREPROCESSOR) as Fields;

  it('with bare sizes and the names of the time', async () => {
    expect(
      (
        await cardOf(vit, {
          feature_extractor_type: 'ViTFeatureExtractor',
          size: 224,
          resample: 3,
          do_normalize: true,
          image_mean: [0.5, 0.5, 0.5],
          image_std: [0.5, 0.5, 0.5],
        })
      ).input,
    ).toMatchObject({ resize: { mode: 'exact', size: [224, 224] }, crop: 'none', interpolation: 'bicubic' });
    const resnet = {
      architectures: ['ResNetForImageClassification'],
      layer_type: 'bottleneck',
      depths: [3, 4, 6, 3],
      hidden_sizes: [256, 512, 1024, 2048],
    };
    expect(
      await cardOf(resnet, {
        feature_extractor_type: 'ConvNextFeatureExtractor',
        size: 224,
        crop_pct: 0.875,
        image_mean: [0.485, 0.456, 0.406],
        image_std: [0.229, 0.224, 0.225],
      }),
    ).toMatchObject({
      architecture: 'resnet50',
      input: { width: 224, resize: { mode: 'shorter-side', size: 256 }, crop: 'center', interpolation: 'bicubic' },
    });
    expect((await cardOf(vit, { ...steps, image_processor_type: 'ViTImageProcessorFast' })).input.width).toBe(224);
    expect((await cardOf(vit, { ...steps, image_processor_type: undefined })).input.interpolation).toBe('bilinear');
  });

  it('without rescaling or normalising', async () => {
    const { input } = await cardOf(vit, { ...steps, do_normalize: false });
    expect([input.mean, input.std]).toEqual([
      [0, 0, 0],
      [1, 1, 1],
    ]);
    // value - 128: (value / 255 - 128 / 255) / (1 / 255)
    const raw = (await cardOf(vit, { ...steps, do_rescale: false, image_mean: [128, 128, 128], image_std: [1, 1, 1] }))
      .input;
    expect(raw.mean[0]).toBeCloseTo(128 / 255, 12);
    expect(raw.std[0]).toBeCloseTo(1 / 255, 12);
  });

  it("with ImageNet's classes by the names that ship, or by others", async () => {
    const imagenet = await readImagenetLabels();
    const named = (labels: readonly string[]) =>
      cardOf({ ...vit, id2label: Object.fromEntries(labels.map((label, index) => [index, label])) }, steps);
    expect((await named(imagenet)).labels).toBe('imagenet-1k');
    expect((await named(imagenet.map((label) => label.toUpperCase()))).labels).toHaveLength(1000);
    expect((await cardOf({ ...vit, id2label: { 0: 'a', 2: 'c' } }, steps)).labels).toEqual(['a', 'class 1', 'c']);
    expect((await cardOf({ ...vit, id2label: undefined }, steps)).labels).toBeUndefined();
  });

  it('of every size that there is a graph for', async () => {
    const graphOf = async (config: Fields): Promise<string> => (await cardOf(config, steps)).architecture;
    const convnext = (depth: number, width: number): Promise<string> =>
      graphOf({
        architectures: ['ConvNextForImageClassification'],
        depths: [3, 3, depth, 3],
        hidden_sizes: [width, 2 * width, 4 * width, 8 * width],
      });
    const sizes = [convnext(9, 96), convnext(27, 96), convnext(27, 128), convnext(27, 192)];
    const names = ['tiny', 'small', 'base', 'large'];
    expect(await Promise.all(sizes)).toEqual(names.map((name) => `convnext_${name}`));
    const swin = { architectures: ['SwinForImageClassification'] };
    expect(await graphOf({ ...swin, depths: [2, 2, 18, 2] })).toBe('swin_small_patch4_window7');
    expect(await graphOf(swin)).toBe('swin_tiny_patch4_window7');
    const base = { ...vit, hidden_size: 768, num_attention_heads: 12, intermediate_size: 3072, patch_size: 8 };
    expect(await graphOf(base)).toBe('vit_base_patch8');
  });

  it("of timm's first years, with all fields at the top", async () => {
    const card = await cardOf(
      {
        architecture: 'resnet18',
        num_classes: 2,
        labels: ['a', 'b'],
        input_size: [3, 224, 224],
        crop_pct: 0.875,
        interpolation: 'bilinear',
        mean: [0, 0, 0],
        std: [1, 1, 1],
      },
      null,
    );
    expect(card).toMatchObject({
      architecture: 'resnet18',
      labels: ['a', 'b'],
      input: { resize: { mode: 'shorter-side', size: 256 }, interpolation: 'bilinear' },
    });
  });
});

describe('what sightline has no graph for', () => {
  const vit = JSON.parse(VIT_CONFIG) as Fields;
  const steps = JSON.parse(VIT_PREPROCESSOR) as Fields;
  const timm = { architecture: 'vit_tiny_patch16_224', num_classes: 3, pretrained_cfg: { input_size: [3, 224, 224] } };

  it.each<[string, Fields, Fields | null]>([
    ['architectures', { ...vit, architectures: ['BeitForImageClassification'] }, steps],
    ['architectures', { ...vit, architectures: ['DeiTForImageClassification'] }, steps],
    ['hidden_act', { ...vit, hidden_act: 'gelu_new' }, steps],
    ['num_hidden_layers', { ...vit, num_hidden_layers: 6 }, steps],
    ['hidden_size', { ...vit, hidden_size: 400 }, steps],
    ['num_attention_heads', { ...vit, num_attention_heads: 12 }, steps],
    ['intermediate_size', { ...vit, intermediate_size: 1000 }, steps],
    ['qkv_bias', { ...vit, qkv_bias: false }, steps],
    ['num_channels', { ...vit, num_channels: 1 }, steps],
    ['patch_size', { ...vit, patch_size: 8 }, steps],
    ['image_size', { ...vit, image_size: [224, 448] }, steps],
    ['depths', { architectures: ['ResNetForImageClassification'], depths: [3, 8, 36, 3] }, steps],
    [
      'downsample_in_bottleneck',
      { architectures: ['ResNetForImageClassification'], downsample_in_bottleneck: true },
      steps,
    ],
    ['layer_scale_init_value', { architectures: ['ConvNextForImageClassification'], layer_scale_init_value: 0 }, steps],
    ['window_size', { architectures: ['SwinForImageClassification'], window_size: 12 }, steps],
    [
      'use_swiglu_ffn',
      { architectures: ['Dinov2ForImageClassification'], patch_size: 14, use_swiglu_ffn: true },
      steps,
    ],
    ['do_resize', vit, { ...steps, do_resize: false }],
    ['do_pad', vit, { ...steps, do_pad: true }],
    ['resample', vit, { ...steps, resample: 1 }],
    ['size', vit, { ...steps, size: { longest_edge: 224 } }],
    ['size', vit, { ...steps, size: { shortest_edge: 224 } }],
    ['crop_size', vit, { ...steps, do_center_crop: true, crop_size: 300 }],
    ['image_processor_type', vit, { ...steps, image_processor_type: 'BeitImageProcessor' }],
    ['architecture', { ...timm, architecture: 'vit_base_patch16_clip_quickgelu_224' }, null],
    ['architecture', { ...timm, architecture: 'tf_efficientnet_b0' }, null],
    ['pretrained_cfg.input_size', { ...timm, architecture: 'swinv2_tiny_window8_256' }, null],
    [
      'hidden_sizes',
      { architectures: ['ConvNextForImageClassification'], depths: [3, 3, 27, 3], hidden_sizes: [64, 128, 256, 512] },
      steps,
    ],
    ['depths', { architectures: ['SwinForImageClassification'], depths: [2, 2, 12, 2] }, steps],
    ['global_pool', { ...timm, global_pool: 'avg' }, null],
    ['model_args.qkv_bias', { ...timm, model_args: { qkv_bias: false } }, null],
    ['model_args.in_chans', { ...timm, model_args: { in_chans: 1 } }, null],
    ['num_classes', { ...timm, num_classes: 0 }, null],
    ['pretrained_cfg.crop_mode', { ...timm, pretrained_cfg: { crop_mode: 'border' } }, null],
    ['pretrained_cfg.interpolation', { ...timm, pretrained_cfg: { interpolation: 'lanczos' } }, null],
    ['pretrained_cfg.input_size', { ...timm, pretrained_cfg: { input_size: [3, 224, 256] } }, null],
  ])('names the field %s and the way that is left', async (field, config, preprocessor) => {
    await expect(cardOf(config, preprocessor)).rejects.toMatchObject({
      code: 'UNSUPPORTED_MODEL',
      details: { field },
      message: expect.stringMatching(new RegExp(`${field.replace('.', '\\.')} = .*models/export\\.py`)),
    });
  });

  it.each<[string, Fields, Fields | null]>([
    ['no preprocessor_config.json', vit, null],
    ['names neither "architectures"', { model_type: 'x' }, steps],
    ['makes images of 384 x 384, but config.json of me/model is for 224 x 224', vit, { ...steps, size: 384 }],
    [
      'squares with sides that 14 divides',
      { architectures: ['Dinov2ForImageClassification'], patch_size: 14 },
      { ...steps, size: 225 },
    ],
  ])('says: %s', async (message, config, preprocessor) => {
    await expect(cardOf(config, preprocessor)).rejects.toMatchObject({
      code: 'UNSUPPORTED_MODEL',
      message: expect.stringContaining(message),
    });
  });

  it.each<[string, Fields]>([
    ['id2label', { ...vit, id2label: { 4294967295: 'x' } }],
    ['id2label', { ...vit, id2label: { a: 'x' } }],
    ['id2label', { ...vit, id2label: ['a'] }],
    ['hidden_size', { ...vit, hidden_size: 'wide' }],
    ['image_size', { ...vit, image_size: -1 }],
  ])('refuses nonsense in %s', async (field, config) => {
    await expect(cardOf(config, steps)).rejects.toMatchObject({
      code: 'INVALID_CARD',
      message: expect.stringContaining(field),
    });
  });

  it('refuses what is not JSON, and takes files of torch.save where nothing else is there', async () => {
    await expect(
      cardOfRepository({
        repository: 'me/model',
        revision: 'main',
        config: '<html>',
        preprocessor: null,
        weights: 'x',
      }),
    ).rejects.toMatchObject({
      code: 'INVALID_CARD',
      message: expect.stringContaining('config.json of me/model is not JSON'),
    });
    expect(chooseWeights('me/model', (file) => file === 'pytorch_model.bin')).toBe('pytorch_model.bin');
    expect(chooseWeights('me/model', (file) => file.startsWith('pytorch_model.bin.'))).toBe(
      'pytorch_model.bin.index.json',
    );
    expect(chooseWeights('me/model', () => true)).toBe('model.safetensors');
    expect(() => chooseWeights('me/model', () => false)).toThrow(
      /me\/model has neither model\.safetensors nor pytorch_model\.bin; .* models\/export\.py/,
    );
    expect(chooseWeights('me/model', (file) => file.endsWith('.index.json'))).toBe('model.safetensors.index.json');
  });
});
