/** What is maximized, as a form holds it, and as the service, the command line and programs take it. */
import type { ModelParts, ServedModel } from '../service/about.js';

/** What of a model is maximized, and how, as the service takes it. */
export type MaximizeQuestion = Readonly<Record<string, unknown>> & { readonly model: string; readonly steps: number };

/** What the form says; a link holds it too. */
export interface Wanted {
  readonly model: string;
  readonly what: 'class' | 'channel' | 'head';
  /** Number of the class. */
  readonly class: number;
  /** Name of the node; empty for the one that class activation maps are of. */
  readonly node: string;
  /** Of the node; null for all of them. */
  readonly channel: number | null;
  /** Number of the attention, in the order of execution. */
  readonly block: number;
  /** Null for the mean of all. */
  readonly head: number | null;
  readonly steps: number;
  readonly seed: number;
}

export function wantedOf(model: ServedModel, found: number): Wanted {
  return {
    model: model.name,
    what: model.labels.length > 0 ? 'class' : 'channel',
    class: found,
    node: model.targetLayer,
    channel: 0,
    block: Math.max(0, model.attention.length - 1),
    head: 0,
    steps: 128,
    seed: 0,
  };
}

/** The objective alone. */
function objectiveOf(wanted: Wanted, model: ServedModel): Record<string, unknown> {
  switch (wanted.what) {
    case 'class':
      return { class: wanted.class };
    case 'channel':
      return { node: wanted.node, ...(wanted.channel !== null && { channel: wanted.channel }) };
    case 'head':
      return {
        node: model.attention[wanted.block]?.name ?? '',
        ...(wanted.head === null ? { of: 'attention' } : { head: wanted.head }),
      };
  }
}

export function questionOf(wanted: Wanted, model: ServedModel): MaximizeQuestion {
  const { steps, seed } = wanted;
  return { model: model.name, ...objectiveOf(wanted, model), steps, seed };
}

const quoted = (text: string): string => (/^[\w./=@%+:,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

export function maximizeCommand(wanted: Wanted, model: ServedModel): string {
  const words = ['npx', 'sightline', 'maximize', '--model', model.name];
  for (const [name, value] of Object.entries(objectiveOf(wanted, model))) words.push(`--${name}`, String(value));
  words.push('--steps', String(wanted.steps), '--seed', String(wanted.seed), '--out', 'maximized.png');
  return words.map(quoted).join(' ');
}

export function maximizeCode(wanted: Wanted, model: ServedModel): string {
  const { model: name, ...options } = questionOf(wanted, model);
  return [
    "import { Model } from 'sightline';",
    '',
    `await using model = await Model.load(${JSON.stringify(name)});`,
    `const made = await model.maximize(${JSON.stringify(options)});`,
    "await made.image.toFile('maximized.png');",
    '',
  ].join('\n');
}

/** Nodes that have channels, and how many; names of several of one shape are all listed. */
export function nodesOf({ nodes }: ModelParts): { readonly name: string; readonly channels: number }[] {
  return nodes.flatMap(({ name, shape, layout }) => {
    if (layout === 'other' || name === '') return [];
    return [{ name, channels: (layout === 'channels-first' ? shape[1] : shape.at(-1)) ?? 0 }];
  });
}

/** One name for each class, also where two have the same. */
export function classNames(labels: readonly string[]): readonly string[] {
  const counts = new Map<string, number>();
  for (const label of labels) counts.set(label, (counts.get(label) ?? 0) + 1);
  return labels.map((label, index) => (counts.get(label)! > 1 ? `${label} (${index})` : label));
}
