import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { describeMethods, METHOD_NAMES, type MethodName, type Model } from '../../lib/index.js';
import { FEW_SAMPLES } from '../support/few-samples.js';
import { randomTensor } from '../support/models.js';
import { expectSame, loadBoth, watched } from './device.js';

/** Between them every method applies to one. */
const ARCHIVES = [
  ['torchvision-resnet-traced', [32, 48]],
  ['timm-vit-fused-traced', [24, 40]],
] as const;
/** The packages whose reading of a method `compat` asks for. */
function packagesOf(method: MethodName): string[] {
  const { options } = describeMethods().find(({ name }) => name === method)!;
  return [
    ...JSON.stringify((options as { properties?: Record<string, unknown> }).properties?.['compat'] ?? {}).matchAll(
      /"(pytorch-grad-cam|torch-cam|captum|vit-explain|chefer|xplique|pair)"/g,
    ),
  ].map(([, name]) => name!);
}

const ran = new Set<MethodName>();

describe.each(ARCHIVES)('%s', (archive, [height, width]) => {
  let onCpu: Model;
  let there: Model;
  let applicable: Set<string>;
  const images = randomTensor(3, height, width, 17);

  beforeAll(async () => {
    ({ onCpu, there } = await loadBoth(archive));
    const [expected, found] = [await onCpu.inspect(), await there.inspect()];
    expectSame(found, expected, 'inspection');
    applicable = new Set(expected.methods.filter(({ applies }) => applies).map(({ name }) => name));
  });
  afterAll(() => Promise.all([onCpu.close(), there.close()]));

  it.each(METHOD_NAMES)('%s gives what it gives on the CPU', async (method) => {
    const options = { method, ...FEW_SAMPLES[method], targets: [1, 4] } as never;
    if (!applicable.has(method)) {
      await expect(there.explain(images, options)).rejects.toMatchObject({ code: 'METHOD_NOT_APPLICABLE' });
      return;
    }
    ran.add(method);
    const expected = await onCpu.explain(images, options);
    const { result } = await watched(() => there.explain(images, options));
    expectSame(result, expected, method);
  });

  it.each(METHOD_NAMES)('%s as each package has it gives what it gives on the CPU', async (method) => {
    if (!applicable.has(method)) return;
    const packages = packagesOf(method);
    for (const name of packages) {
      const options = { method, ...FEW_SAMPLES[method], targets: [1], compat: name, raw: true } as never;
      // Where a package does not take this model or these options, neither device does.
      const answer = (model: Model): Promise<unknown> =>
        model.explain(images, options).catch(({ code }: { code?: string }) => ({ code }));
      const expected = await answer(onCpu);
      const { result } = await watched(() => answer(there));
      expectSame(result, expected, `${method} as ${name}`);
    }
  });
});

it('every method ran', () => {
  expect([...ran].sort()).toEqual([...METHOD_NAMES].sort());
});
