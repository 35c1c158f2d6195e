import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { onTestFinished, vi } from 'vitest';

import type { RetryPolicy } from '../../lib/hub/connection.js';
import type { PulledCard } from '../../lib/hub/pulled-card.js';
import type { Catalog } from '../../lib/hub/resolve-name.js';
import { LoopbackHub } from '../support/hub.js';

/** Waits that a test can afford. */
export const HURRY: RetryPolicy = { attempts: 3, backoffMs: 5, longestWaitMs: 2000 };

/** A safetensors file of one tensor, with `count` floats that look random and are the same each time. */
export function safetensors(count = 64, seed = 1): Buffer {
  const data = Buffer.alloc(4 * count);
  for (let i = 0, state = seed; i < data.length; i++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    data[i] = state >>> 16;
  }
  const header = Buffer.from(
    JSON.stringify({ weight: { dtype: 'F32', shape: [count], data_offsets: [0, data.length] } }),
  );
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, header, data]);
}

export function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** A tiny ViT with three classes, as timm writes it. */
export const TEST_VIT_CONFIG = JSON.stringify({
  architecture: 'test_vit',
  num_classes: 3,
  label_names: ['rose', 'tulip', 'daisy'],
  pretrained_cfg: {
    input_size: [3, 160, 160],
    num_classes: 3,
    mean: [0.5, 0.5, 0.5],
    std: [0.5, 0.5, 0.5],
    interpolation: 'bicubic',
    crop_pct: 0.95,
    crop_mode: 'center',
  },
});

/** A fine-tuned ViT-S/16 with three classes, as transformers writes it. */
export const VIT_CONFIG = JSON.stringify({
  architectures: ['ViTForImageClassification'],
  hidden_act: 'gelu',
  hidden_size: 384,
  id2label: { 0: 'rose', 1: 'tulip', 2: 'daisy' },
  image_size: 224,
  intermediate_size: 1536,
  layer_norm_eps: 1e-12,
  model_type: 'vit',
  num_attention_heads: 6,
  num_channels: 3,
  num_hidden_layers: 12,
  patch_size: 16,
  qkv_bias: true,
});

export const VIT_PREPROCESSOR = JSON.stringify({
  do_normalize: true,
  do_rescale: true,
  do_resize: true,
  image_mean: [0.5, 0.5, 0.5],
  image_processor_type: 'ViTImageProcessor',
  image_std: [0.5, 0.5, 0.5],
  resample: 2,
  rescale_factor: 0.00392156862745098,
  size: { height: 224, width: 224 },
});

export function vitRepository(weights: Buffer) {
  return {
    'config.json': VIT_CONFIG,
    'preprocessor_config.json': VIT_PREPROCESSOR,
    'model.safetensors': { lfs: weights },
  };
}

/** A card as the catalog has them. */
export function catalogCard(name: string, weights: Partial<PulledCard['weights']> = {}): PulledCard {
  return {
    name,
    architecture: 'test_vit',
    input: {
      width: 160,
      height: 160,
      mean: [0.5, 0.5, 0.5],
      std: [0.5, 0.5, 0.5],
      resize: { mode: 'shorter-side', size: 168 },
      interpolation: 'bicubic',
      crop: 'center',
    },
    weights: { repository: `timm/${name}`, file: 'model.safetensors', revision: 'main', naming: 'timm', ...weights },
  };
}

export function catalogOf(...cards: PulledCard[]): Catalog {
  return {
    catalog: () => Promise.resolve(cards),
    cataloged: (name) => Promise.resolve(cards.find((card) => card.name === name) ?? null),
  };
}

/** A folder that goes when the running test ends. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'sightline-hub-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A hub and an empty cache for the running test, and an environment that knows no others. */
export async function useHub(): Promise<{ hub: LoopbackHub; home: string; cache: string }> {
  const hub = await LoopbackHub.start();
  onTestFinished(() => hub.close());
  const home = temporaryFolder();
  for (const [name, value] of Object.entries(environmentOf(hub, home))) vi.stubEnv(name, value);
  onTestFinished(() => void vi.unstubAllEnvs());
  return { hub, home, cache: join(home, 'hub') };
}

/** What a process needs to use that hub and that cache, and no proxy, token or cache of this machine. */
export function environmentOf(hub: LoopbackHub, home: string): Record<string, string> {
  const cleared = [
    'HF_TOKEN',
    'HUGGING_FACE_HUB_TOKEN',
    'HF_TOKEN_PATH',
    'HF_HUB_CACHE',
    'HUGGINGFACE_HUB_CACHE',
    'HF_HUB_OFFLINE',
    'TRANSFORMERS_OFFLINE',
    'HTTP_PROXY',
    'HTTPS_PROXY',
    'NO_PROXY',
    'http_proxy',
    'https_proxy',
    'no_proxy',
    'ALL_PROXY',
    'all_proxy',
    'HF_HUB_DISABLE_SYMLINKS',
  ];
  return { ...Object.fromEntries(cleared.map((name) => [name, ''])), HF_ENDPOINT: hub.endpoint, HF_HOME: home };
}

/** Paths below a folder that are neither folders nor locks, sorted. */
export function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();
}
