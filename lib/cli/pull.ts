import { stat } from 'node:fs/promises';

import { Command } from 'commander';

import { joinRevision } from '../hub/names.js';
import { pull } from '../model/pull.js';
import { withJsonFlag } from './options.js';
import type { Session } from './session.js';
import { TransferProgress } from './transfer-progress.js';
import { megabytes } from './words.js';

interface PullFlags {
  readonly revision?: string;
  readonly fromFile?: string;
}

export function pullCommand(session: Session): Command {
  return withJsonFlag(new Command('pull'))
    .description("Bring a pretrained model's weights from the Hugging Face hub to this machine.")
    .argument(
      '<name>',
      'a model of the catalog (see sightline models), or any org/name on the hub; name@revision for another one',
    )
    .option('--revision <revision>', "branch, tag or commit (default: the catalog's, else main)")
    .option('--from-file <file>', 'take a local .safetensors (or .safetensors.index.json) or .pth instead of fetching')
    .addHelpText(
      'after',
      `
Examples:
  $ sightline pull vit_base_patch16_224
  $ sightline pull your-org/your-fine-tuned-vit --revision v2
  $ sightline pull you/flowers --from-file flowers/model.safetensors

Files lie in the hub's own cache, which Python shares; HF_ENDPOINT, HF_TOKEN, HF_HOME and HTTPS_PROXY are honored.`,
    )
    .action((name: string, flags: PullFlags) => run(session, name, flags));
}

async function run(session: Session, name: string, { revision, fromFile }: PullFlags): Promise<void> {
  const progress = new TransferProgress(session);
  const { card, files, commit, transferred, notes } = await pull(name, {
    revision,
    fromFile,
    signal: session.signal,
    onProgress: (state) => progress.update(state),
  });
  for (const note of notes) session.note(note);

  const sizes = await Promise.all(files.map(async (path) => (await stat(path)).size));
  const { architecture, weights, labels } = card;
  session.answer({
    name,
    architecture,
    repository: weights.repository,
    revision: weights.revision,
    commit,
    labels: labels ?? null,
    files: files.map((path, index) => ({ path, bytes: sizes[index]! })),
    transferred,
  });
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  session.print(
    `${name} is here: ${architecture}, ${megabytes(bytes)}${transferred === 0 ? '' : `, of which ${megabytes(transferred)} came now`}.`,
  );
  for (const path of files) session.print(`  ${path}`);
  // What was asked for by its revision is found by its revision.
  const asked = name.includes('@') ? name : joinRevision(name, revision);
  session.print(`Explain a photo: sightline explain photo.jpg --model ${asked}`);
}
