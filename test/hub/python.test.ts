import { readFileSync } from 'node:fs';

import { describe, expect, it } from 'vitest';

import { findPulledIn } from '../../lib/hub/find.js';
import { pullFrom } from '../../lib/hub/pull.js';
import { findPythonHub, runPython } from '../support/python-hub.js';
import { HURRY, catalogOf, environmentOf, safetensors, sha256, useHub, vitRepository } from './fixtures.js';

const NONE = catalogOf();
const weights = safetensors(50_000);
const python = findPythonHub();

/** Metadata of huggingface_hub's own telemetry must not leave the machine; there is nobody to receive it either. */
const QUIET = { HF_HUB_DISABLE_TELEMETRY: '1', HF_HUB_DISABLE_PROGRESS_BARS: '1', HF_HUB_DISABLE_XET: '1' };

describe.skipIf(python === null)("Python's huggingface_hub", () => {
  it('finds what sightline pulled, without a request', async () => {
    const { hub, home } = await useHub();
    const commit = hub.add('me/flowers', vitRepository(weights));
    const { files } = await pullFrom(NONE, 'me/flowers', {}, HURRY);
    const asked = hub.requests.length;
    const seen = await runPython<{
      path: string;
      config: string;
      repositories: object[];
      warnings: string[];
      incomplete: number;
    }>(
      python!,
      `
import json
from huggingface_hub import hf_hub_download, scan_cache_dir
cache = scan_cache_dir()
print(json.dumps({
    'path': hf_hub_download('me/flowers', 'model.safetensors', local_files_only=True),
    'config': hf_hub_download('me/flowers', 'config.json', revision='${commit}', local_files_only=True),
    'repositories': [{'id': repo.repo_id, 'type': repo.repo_type, 'bytes': repo.size_on_disk, 'files': repo.nb_files, 'revisions': [
        {'commit': revision.commit_hash, 'refs': sorted(revision.refs)} for revision in repo.revisions]} for repo in cache.repos],
    'warnings': [str(warning) for warning in cache.warnings],
    'incomplete': len(getattr(cache, 'incomplete_files', [])),
}))`,
      { ...environmentOf(hub, home), ...QUIET },
    );
    expect(seen.path).toBe(files[0]);
    expect(seen.config).toBe(files[0]!.replace('model.safetensors', 'config.json'));
    const bytes = Object.values(vitRepository(weights)).reduce(
      (sum, file) => sum + (typeof file === 'string' ? file.length : file.lfs.length),
      0,
    );
    expect(seen.repositories).toEqual([
      { id: 'me/flowers', type: 'model', bytes, files: 3, revisions: [{ commit, refs: ['main'] }] },
    ]);
    expect([seen.warnings, seen.incomplete, hub.requests.length]).toEqual([[], 0, asked]);
  });

  it('takes what sightline pulled for its own when it asks the hub', async () => {
    const { hub, home } = await useHub();
    hub.add('me/flowers', vitRepository(weights));
    const { files } = await pullFrom(NONE, 'me/flowers', {}, HURRY);
    const contents = (): number => hub.requests.filter(({ server }) => server === 'cdn').length;
    const before = contents();
    const path = await runPython<string>(
      python!,
      "import json; from huggingface_hub import hf_hub_download; print(json.dumps(hf_hub_download('me/flowers', 'model.safetensors')))",
      { ...environmentOf(hub, home), ...QUIET },
    );
    expect(path).toBe(files[0]);
    expect(contents()).toBe(before);
  });

  it('brings what sightline then uses, with no transfer', async () => {
    const { hub, home } = await useHub();
    const commit = hub.add('me/flowers', vitRepository(weights));
    const folder = await runPython<string>(
      python!,
      "import json; from huggingface_hub import snapshot_download; print(json.dumps(snapshot_download('me/flowers')))",
      { ...environmentOf(hub, home), ...QUIET },
    );
    const found = await findPulledIn(NONE, 'me/flowers');
    expect(found).toMatchObject({
      commit,
      files: [`${folder}/model.safetensors`],
      card: { architecture: 'vit_small_patch16' },
    });
    expect(sha256(readFileSync(found!.files[0]!))).toBe(sha256(weights));
    const before = hub.requests.length;
    expect((await pullFrom(NONE, 'me/flowers', {}, HURRY)).transferred).toBe(0);
    // The hub is asked whether main has moved, and for nothing else.
    expect(hub.requests.slice(before).map(({ url }) => url.replace(/\?.*/, ''))).toEqual([
      '/api/models/me/flowers/revision/main',
      `/api/models/me/flowers/paths-info/${commit}`,
    ]);
  });

  it('reads a local file that sightline placed in the cache', async () => {
    const { hub, home } = await useHub();
    const { temporaryFolder } = await import('./fixtures.js');
    const { writeFileSync } = await import('node:fs');
    const folder = temporaryFolder();
    for (const [name, file] of Object.entries(vitRepository(weights))) {
      writeFileSync(`${folder}/${name}`, typeof file === 'string' ? file : file.lfs);
    }
    const { files } = await pullFrom(NONE, 'me/mine', { fromFile: `${folder}/model.safetensors` }, HURRY);
    const seen = await runPython<{ path: string; warnings: number }>(
      python!,
      "import json; from huggingface_hub import hf_hub_download, scan_cache_dir; print(json.dumps({'path': hf_hub_download('me/mine', 'model.safetensors', local_files_only=True), 'warnings': len(scan_cache_dir().warnings)}))",
      { ...environmentOf(hub, home), ...QUIET },
    );
    expect(seen).toEqual({ path: files[0], warnings: 0 });
  });
});
