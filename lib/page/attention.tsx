import { useMemo, useRef } from 'preact/hooks';

import type { ServedModel } from '../service/about.js';
import { attention, type Attention } from './api.js';
import { boxOf } from './boxes.js';
import { Legend } from './legend.js';
import { MapCanvas } from './map-canvas.js';
import { scaleOf, type MapValues } from './paint.js';
import { attendedBy, attendsTo, elsewhere, tokenOf } from './patches.js';
import { hasAttention, type Explored, type Look, type Shown } from './state.js';
import { Tile } from './tile.js';
import { useAnswer } from './use-answer.js';
import { percent } from './words.js';

interface Props {
  readonly models: readonly ServedModel[];
  readonly picture: Shown;
  readonly look: Look;
  readonly explored: Explored | null;
  readonly onExplored: (explored: Explored) => void;
}

export function startOf(model: ServedModel): Explored {
  return { model: model.name, block: model.attention.length - 1, head: null, patch: null, of: 'probabilities' };
}

const KINDS = [
  ['probabilities', 'Attention'],
  ['query', 'Queries'],
  ['key', 'Keys'],
  ['value', 'Values'],
] as const;

/** Every block and head, and what each patch attends to. */
export function AttentionExplorer({ models, picture, look, explored, onExplored }: Props) {
  const able = models.filter(hasAttention);
  const model = able.find(({ name }) => name === explored?.model) ?? able[0];
  if (model === undefined) {
    return (
      <p class="empty">
        None of the served models has attention over patches. Serve a vision transformer beside them:{' '}
        <code>npx sightline serve --model vit_base_patch16_224</code>.
      </p>
    );
  }
  const now = explored?.model === model.name ? explored : startOf(model);
  return <Explorer {...{ able, model, picture, look, now, onExplored }} />;
}

interface ExplorerProps {
  readonly able: readonly ServedModel[];
  readonly model: ServedModel;
  readonly picture: Shown;
  readonly look: Look;
  readonly now: Explored;
  readonly onExplored: (explored: Explored) => void;
}

function Explorer({ able, model, picture, look, now, onExplored }: ExplorerProps) {
  const { block, head, patch, of } = now;
  const ask = { model: model.name };
  const all = useAnswer(JSON.stringify([picture.id, ask]), (signal) => attention(picture, ask, signal));
  const askRows = { ...ask, block, rows: 'all' as const };
  const rows = useAnswer(JSON.stringify([picture.id, askRows]), (signal) => attention(picture, askRows, signal));
  const token = rows.answer === null ? 0 : tokenOf(rows.answer, patch);
  const maps = useMemo(
    () =>
      rows.answer === null
        ? null
        : ([attendsTo(rows.answer, token, head), attendedBy(rows.answer, token, head)] as const),
    [rows.answer, token, head],
  );
  const where = patch === null ? 'the class token' : patchName(patch, model.tokens!.width);
  const which = `block ${block}, ${head === null ? 'mean of its heads' : `head ${head}`}`;
  const refusal = all.refusal ?? rows.refusal;
  const [ahead, back] = maps ?? [null, null];
  return (
    <section class="explorer" aria-label="Attention explorer" aria-busy={all.isLoading || rows.isLoading}>
      <div class="bar">
        <label class="field">
          <span>Model</span>
          <select
            value={model.name}
            onChange={(event) => onExplored(startOf(able.find(({ name }) => name === event.currentTarget.value)!))}
          >
            {able.map(({ name }) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
        <label class="field">
          <span>Head</span>
          <select
            value={head ?? ''}
            onChange={(event) => {
              const { value } = event.currentTarget;
              onExplored({ ...now, head: value === '' ? null : Number(value) });
            }}
          >
            <option value="">mean of all</option>
            {Array.from({ length: model.attention[block]!.heads }, (_, i) => (
              <option key={i} value={i}>
                head {i}
              </option>
            ))}
          </select>
        </label>
        <button
          type="button"
          aria-pressed={patch === null}
          disabled={model.tokens!.classToken === null}
          onClick={() => onExplored({ ...now, patch: null })}
        >
          Class token
        </button>
      </div>
      {refusal !== null && (
        <p class="refusal" role="alert">
          {refusal}
        </p>
      )}
      <div class="pair">
        <PatchPicker {...{ model, picture, look, patch }} onPatch={(next) => onExplored({ ...now, patch: next })} />
        <PatchMap {...{ model, picture, look }} map={ahead} title={`What ${where} attends to`} which={which} />
        <PatchMap {...{ model, picture, look }} map={back} title={`Who attends to ${where}`} which={which} />
      </div>
      {rows.answer !== null && (
        <p class="says">
          In {which}, {where} gives {percent(1 - elsewhere(rows.answer, token, head))} of its attention to patches and{' '}
          {percent(elsewhere(rows.answer, token, head))} to other tokens.{' '}
          <span>Attention says what was read, not what it was read for.</span>
        </p>
      )}
      {all.answer !== null && <Heads {...{ all: all.answer, look, now, onExplored }} />}
      <fieldset class="choice">
        <legend>Within block {block}</legend>
        {KINDS.map(([kind, label]) => (
          <label key={kind}>
            <input type="radio" name="of" checked={of === kind} onChange={() => onExplored({ ...now, of: kind })} />
            <span>{label}</span>
          </label>
        ))}
      </fieldset>
      {of !== 'probabilities' && <Channels {...{ model, picture, look, now }} />}
    </section>
  );
}

const patchName = (patch: number, width: number): string =>
  `the patch in row ${Math.floor(patch / width) + 1}, column ${(patch % width) + 1}`;

interface PickerProps {
  readonly model: ServedModel;
  readonly picture: Shown;
  readonly look: Look;
  readonly patch: number | null;
  readonly onPatch: (patch: number) => void;
}

/** The picture, of which a patch is chosen by a click or by the arrow keys. */
function PatchPicker({ model, picture, look, patch, onPatch }: PickerProps) {
  const frame = useRef<HTMLDivElement>(null);
  const { height: rows, width: columns } = model.tokens!;
  const { bitmap } = picture;
  const box = boxOf(model, bitmap);
  const size = { width: box.width / columns, height: box.height / rows };
  const row = patch === null ? 0 : Math.floor(patch / columns);
  const column = patch === null ? 0 : patch % columns;
  const choose = (toRow: number, toColumn: number): void => {
    const held = (value: number, most: number): number => Math.min(most - 1, Math.max(0, value));
    onPatch(held(toRow, rows) * columns + held(toColumn, columns));
  };
  const share = (value: number, whole: number): string => `${(100 * value) / whole}%`;
  return (
    <figure>
      <div
        ref={frame}
        class="patches"
        tabIndex={0}
        role="group"
        aria-label={`Patch to look from: ${patch === null ? 'none, the class token' : patchName(patch, columns)}. Arrow keys move.`}
        onClick={(event) => {
          const { left, top, width, height } = frame.current!.getBoundingClientRect();
          const x = ((event.clientX - left) / width) * bitmap.width - box.left;
          const y = ((event.clientY - top) / height) * bitmap.height - box.top;
          choose(Math.floor(y / size.height), Math.floor(x / size.width));
        }}
        onKeyDown={(event) => {
          const moves: Record<string, [number, number]> = {
            ArrowUp: [-1, 0],
            ArrowDown: [1, 0],
            ArrowLeft: [0, -1],
            ArrowRight: [0, 1],
          };
          const move = moves[event.key];
          if (move === undefined) return;
          event.preventDefault();
          if (patch === null) choose(Math.floor(rows / 2), Math.floor(columns / 2));
          else choose(row + move[0], column + move[1]);
        }}
      >
        <MapCanvas
          bitmap={bitmap}
          map={null}
          box={null}
          scale={null}
          look={look}
          label={`${picture.name}, in ${rows} × ${columns} patches`}
        />
        {patch !== null && (
          <span
            class="patch"
            style={{
              left: share(box.left + column * size.width, bitmap.width),
              top: share(box.top + row * size.height, bitmap.height),
              width: share(size.width, bitmap.width),
              height: share(size.height, bitmap.height),
            }}
          />
        )}
      </div>
      <figcaption>Click a patch, or move by the arrow keys</figcaption>
    </figure>
  );
}

interface MapProps {
  readonly model: ServedModel;
  readonly picture: Shown;
  readonly look: Look;
  readonly map: MapValues | null;
  readonly title: string;
  readonly which: string;
}

function PatchMap({ model, picture, look, map, title, which }: MapProps) {
  const scale = useMemo(() => (map === null ? null : scaleOf([map])), [map]);
  return (
    <figure>
      <MapCanvas
        bitmap={picture.bitmap}
        map={map}
        box={boxOf(model, picture.bitmap)}
        scale={scale}
        look={look}
        label={`${title}, ${which}`}
        interpolation="nearest"
      />
      {scale !== null && <Legend scale={scale} look={look} range={[scale.min, scale.max]} />}
      <figcaption>{title}</figcaption>
    </figure>
  );
}

interface HeadsProps {
  readonly all: Attention;
  readonly look: Look;
  readonly now: Explored;
  readonly onExplored: (explored: Explored) => void;
}

/** Blocks by heads: what the classified token reads. */
function Heads({ all, look, now, onExplored }: HeadsProps) {
  const blocks = [...new Set(all.maps.map(({ block }) => block))];
  return (
    <section class="heads" aria-label="All blocks and heads">
      <h2>All blocks and heads</h2>
      <p class="hint">What the classified token reads, each map from its own smallest value to its largest.</p>
      <div class="scroll" tabIndex={0} role="group" aria-label="Blocks by heads">
        {blocks.map((block) => (
          <div key={block} class="row">
            <span class="name">block {block}</span>
            {all.maps.map((of, i) =>
              of.block === block ? (
                <button
                  key={i}
                  type="button"
                  aria-pressed={now.block === block && now.head === of.head}
                  aria-label={`Block ${block}, head ${of.head}`}
                  onClick={() => onExplored({ ...now, block, head: of.head })}
                >
                  <Tile map={all.values[i]!} scale={scaleOf([all.values[i]!])} look={look} />
                </button>
              ) : null,
            )}
          </div>
        ))}
      </div>
    </section>
  );
}

/** Queries, keys or values of one head, channel by channel, on one signed scale. */
function Channels({ model, picture, look, now }: Omit<ExplorerProps, 'able' | 'onExplored'>) {
  const head = now.head ?? 0;
  const ask = { model: model.name, of: now.of, block: now.block, head };
  const { answer, refusal } = useAnswer(JSON.stringify([picture.id, ask]), (signal) => attention(picture, ask, signal));
  const scale = useMemo(() => (answer === null ? null : scaleOf(answer.values)), [answer]);
  if (refusal !== null) {
    return (
      <p class="refusal" role="alert">
        {refusal}
      </p>
    );
  }
  if (answer === null || scale === null) return null;
  return (
    <section class="channels" aria-label={`Channels of block ${now.block}, head ${head}`}>
      <p class="hint">
        {answer.values.length} channels of block {now.block}, head {head}, all on one scale.
      </p>
      <Legend scale={scale} look={{ ...look, threshold: 0 }} range={[scale.min, scale.max]} />
      <ul>
        {answer.values.map((map, i) => (
          <li key={i}>
            <Tile map={map} scale={scale} look={look} />
            <span>{answer.maps[i]!.channel}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}
