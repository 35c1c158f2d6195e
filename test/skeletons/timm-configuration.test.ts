import { describe, expect, it } from 'vitest';

import { cardOfRepository } from '../../lib/hub/repository-card.js';
import { architectures, catalog, skeletonOf } from '../../lib/models/catalog.js';
import { findPython, runPython } from '../support/python.js';

const python = findPython();
const cards = (await catalog()).filter(({ weights }) => weights.naming === 'timm');

interface OfTimm {
  readonly config: string;
  readonly repository: string;
  readonly license: string;
  readonly classes: number;
  readonly parameters: number;
}

describe.skipIf(python === null)("timm's default configuration", () => {
  it('is what every card of the catalog says', { timeout: 1_800_000 }, async () => {
    const answer = await runPython(python!, ['test/skeletons/timm_configs.py', ...cards.map(({ name }) => name)]);
    const ofTimm = JSON.parse(answer) as Record<string, OfTimm>;
    for (const card of cards) {
      const { config, repository, license, classes, parameters } = ofTimm[card.name]!;
      // As a repository of this configuration is read that the catalog does not have.
      const { input, architecture, targetLayer } = await cardOfRepository({
        repository,
        revision: 'main',
        config,
        preprocessor: null,
        weights: 'model.safetensors',
      });
      expect(
        {
          repository: card.weights.repository,
          source: card.source,
          license: card.license?.toLowerCase(),
          labels: card.labels,
          parameters: card.parameters,
          input: card.input,
          architecture: card.architecture,
          targetLayer: card.targetLayer,
        },
        card.name,
      ).toEqual({
        repository,
        source: repository.replace(/^timm\//, 'timm '),
        license,
        labels: classes === 1000 ? 'imagenet-1k' : classes,
        parameters,
        input,
        architecture,
        targetLayer,
      });
    }
    expect(cards.length).toBeGreaterThan(40);
  });

  it(
    'is read of image towers that are published without a classifier, fine-tuned',
    { timeout: 1_800_000 },
    async () => {
      const towers = {
        vit_base_patch16_siglip_224: 'vit_base_patch16_siglip',
        vit_base_patch16_siglip_256: 'vit_base_patch16_siglip',
        vit_base_patch16_siglip_gap_224: 'vit_base_patch16_siglip_gap',
      };
      const answer = await runPython(python!, [
        'test/skeletons/timm_configs.py',
        ...Object.keys(towers).map((name) => `${name}:3`),
      ]);
      const ofTimm = JSON.parse(answer) as Record<string, OfTimm>;
      for (const [name, architecture] of Object.entries(towers)) {
        const { config } = ofTimm[name]!;
        const read = (text: string) =>
          cardOfRepository({
            repository: 'me/model',
            revision: 'main',
            config: text,
            preprocessor: null,
            weights: 'model.safetensors',
          });
        const side = Number(name.slice(-3));
        expect(await read(config), name).toMatchObject({ architecture, input: { width: side, height: side } });
        const other = { ...(JSON.parse(config) as object), global_pool: 'token' };
        await expect(read(JSON.stringify(other)), name).rejects.toMatchObject({ code: 'UNSUPPORTED_MODEL' });
      }
    },
  );

  it(
    'has the models that share a skeleton, and those that a skeleton calls alike',
    { timeout: 1_800_000 },
    async () => {
      const sharing = cards.filter(({ name, architecture }) => name !== architecture);
      const answer = await runPython(python!, [
        'test/skeletons/alike.py',
        ...sharing.map(({ name, architecture }) => `${name}=${architecture}`),
      ]);
      const { same, alike } = JSON.parse(answer) as {
        readonly same: Record<string, boolean>;
        readonly alike: Record<string, readonly [shapes: boolean, differs: boolean]>;
      };
      expect(same).toEqual(Object.fromEntries(sharing.map(({ name }) => [name, true])));
      const named = await Promise.all((await architectures()).map(async (name) => (await skeletonOf(name)).card));
      expect(alike).toEqual(
        Object.fromEntries(
          named.flatMap(({ architecture, alike: others = [] }) =>
            others.map((other) => [`${architecture} ${other}`, [true, true]]),
          ),
        ),
      );
      expect(Object.keys(alike).length).toBeGreaterThan(8);
    },
  );
});
