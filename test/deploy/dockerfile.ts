import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync } from 'node:fs';
import path from 'node:path';

/** One instruction of a Dockerfile, its lines joined. */
export interface Instruction {
  readonly name: string;
  readonly text: string;
}

export function instructionsOf(dockerfile: string): Instruction[] {
  const lines = dockerfile.split('\n').filter((line) => !line.trimStart().startsWith('#'));
  return lines
    .join('\n')
    .replace(/\\\n/g, ' ')
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [, name, text] = /^([A-Z]+)\s+(.*)$/.exec(line)!;
      return { name: name!, text: text!.trim() };
    });
}

/** What an image is made of; paths begin below its root. */
export interface Image {
  /** The folder that stands for `/`. */
  readonly root: string;
  readonly env: Readonly<Record<string, string>>;
  readonly workdir: string;
  /** Null for root. */
  readonly user: string | null;
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  readonly healthcheck: readonly string[];
}

interface Builder {
  /** A folder for the roots of all stages. */
  readonly folder: string;
  /** What COPY takes its files from. */
  readonly context: string;
  /** What the environment has in a container, and beside it what keeps commands to what is here. */
  readonly env: NodeJS.ProcessEnv;
  /** Whether a command is left out, such as one that needs the network. */
  readonly leavesOut: (command: string) => boolean;
  /** Called before each command. */
  readonly before: (command: string, image: Image) => void;
}

const EMPTY: Omit<Image, 'root'> = { env: {}, workdir: '/', user: null, entrypoint: [], cmd: [], healthcheck: [] };

/** Follows a Dockerfile's instructions in folders that stand for the roots of its stages. The last one is the image. */
export function build(dockerfile: string, { folder, context, env, leavesOut, before }: Builder): Image {
  const stages = new Map<string, Image>();
  let name = '';
  let image: Image | null = null;
  for (const instruction of instructionsOf(dockerfile)) {
    const { text } = instruction;
    if (instruction.name === 'FROM') {
      name = /\bAS (\w+)$/.exec(text)?.[1] ?? 'last';
      image = { ...EMPTY, root: path.join(folder, name) };
      mkdirSync(image.root, { recursive: true });
      stages.set(name, image);
      continue;
    }
    if (image === null) throw new Error(`${instruction.name} comes before FROM.`);
    const at: Image = image;
    switch (instruction.name) {
      case 'ENV':
        image = { ...at, env: { ...at.env, ...variablesOf(text) } };
        break;
      case 'WORKDIR':
        mkdirSync(path.join(at.root, text), { recursive: true });
        image = { ...at, workdir: text };
        break;
      case 'USER':
        image = { ...at, user: text };
        break;
      case 'EXPOSE':
        break;
      case 'ENTRYPOINT':
        image = { ...at, entrypoint: JSON.parse(text) as string[] };
        break;
      case 'CMD':
        image = { ...at, cmd: JSON.parse(text) as string[] };
        break;
      case 'HEALTHCHECK':
        image = { ...at, healthcheck: JSON.parse(text.slice(text.indexOf('['))) as string[] };
        break;
      case 'COPY':
        copy(text, at, context, stages);
        break;
      case 'RUN':
        for (const command of text.split(' && ').map((each) => each.trim())) {
          if (leavesOut(command)) continue;
          before(command, at);
          const { status, stdout, stderr } = spawnSync('sh', ['-c', command], {
            cwd: path.join(at.root, at.workdir),
            env: { ...env, ...environmentOf(at) },
            encoding: 'utf8',
          });
          if (status !== 0) throw new Error(`${command} ended with ${status}:\n${stdout}${stderr}`);
        }
        break;
      default:
        throw new Error(`There is no way to follow ${instruction.name} here.`);
    }
    stages.set(name, image);
  }
  return image!;
}

/** Its variables, where those that name a path name one below the folder that stands for the root. */
export function environmentOf({ env, root }: Image): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).map(([key, value]) => [key, value.startsWith('/') ? path.join(root, value) : value]),
  );
}

function variablesOf(text: string): Record<string, string> {
  return Object.fromEntries([...text.matchAll(/(\w+)=(\S+)/g)].map(([, key, value]) => [key!, value!]));
}

/** Hard links where that is possible: LibTorch is large. */
function copy(text: string, image: Image, context: string, stages: ReadonlyMap<string, Image>): void {
  const [, from, source, to] = /^(?:--from=(\w+) )?(\S+) (\S+)$/.exec(text)!;
  const target = path.resolve(
    path.join(image.root, image.workdir),
    to!.startsWith('/') ? path.join(image.root, to!) : to!,
  );
  if (from === undefined) {
    const pattern = new RegExp(`^${source!.replaceAll('.', '\\.').replaceAll('*', '.*')}$`);
    const names = readdirSync(context).filter((name) => pattern.test(name));
    if (names.length === 0) throw new Error(`COPY finds no ${source}.`);
    for (const name of names) cpSync(path.join(context, name), path.join(target, name), { recursive: true });
    return;
  }
  mkdirSync(path.dirname(target), { recursive: true });
  const { status, stderr } = spawnSync('cp', ['-al', path.join(stages.get(from)!.root, source!), target], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
}
