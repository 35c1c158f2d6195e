import type { AttentionMap } from '../requests/attention-maps.js';
import type { Plane } from '../pictures/planes.js';

/** Which maps are drawn, and in what order. */
export interface AttentionSheet {
  readonly planes: readonly Plane[];
  readonly columns: number;
  readonly heads: { readonly columnHeads?: readonly string[]; readonly rowHeads?: readonly string[] };
  /** What all drawn maps have in common, for the title; begins with a separator, or is empty. */
  readonly scope: string;
  /** What is not drawn, and how to see it; null when all is. */
  readonly note: string | null;
}

/** Columns of channels, where these are an axis of the sheet. */
const CHANNEL_COLUMNS = 16;

type Axis = 'block' | 'head' | 'channel';

/**
 * Sets maps into rows and columns by the axes along which there are several: blocks down and heads across; one block's
 * heads down and channels across. Where all three are open, one channel stands for all, since thousands of small
 * pictures show nothing.
 */
export function attentionSheet(maps: readonly AttentionMap[]): AttentionSheet {
  const numbers = (axis: Axis): number[] => [...new Set(maps.map((map) => map[axis] ?? -1))];
  const axes = (['block', 'head', 'channel'] as const).map((name) => ({ name, values: numbers(name) }));
  const open = axes.filter(({ values }) => values.length > 1);
  const notes: string[] = [];
  let drawn = maps;
  if (open.length === 3) {
    const [first] = open.pop()!.values as [number];
    drawn = maps.filter(({ channel }) => channel === first);
    notes.push(`only channel ${first} of each head is drawn`);
  }
  const [down, across] = open.length === 2 ? open : [undefined, open[0]];
  if (down && across?.name === 'channel' && across.values.length > CHANNEL_COLUMNS) {
    const kept = new Set(across.values.slice(0, CHANNEL_COLUMNS));
    drawn = drawn.filter(({ channel }) => kept.has(channel!));
    notes.push(`only the first ${CHANNEL_COLUMNS} of ${across.values.length} channels are drawn`);
    across.values.length = CHANNEL_COLUMNS;
  }
  const fixed = axes
    .filter(({ name, values }) => name !== down?.name && name !== across?.name && values[0] !== -1)
    .map(({ name, values }) => `, ${name} ${values[0]}`);
  return {
    // One open axis has no heads, so each map says for itself what it is.
    planes: drawn.map((map) => ({
      data: map.data,
      shape: map.shape,
      ...(!down && across && { caption: `${across.name} ${map[across.name]}` }),
    })),
    columns: down ? across!.values.length : Math.min(across?.name === 'channel' ? CHANNEL_COLUMNS : 12, drawn.length),
    heads: down
      ? {
          columnHeads: across!.values.map((value) => `${across!.name} ${value}`),
          rowHeads: down.values.map((value) => `${down.name} ${value}`),
        }
      : {},
    scope: fixed.join(''),
    note:
      notes.length === 0
        ? null
        : `${notes.join(', ')}; choose with --block, --head or --channel, or write all with --npy DIR.`,
  };
}
