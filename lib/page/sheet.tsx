import { useEffect, useMemo, useRef, useState } from 'preact/hooks';

import type { MethodDescription } from '../requests/describe.js';
import type { ServedModel } from '../service/about.js';
import { explain, Refusal, type Explained } from './api.js';
import { boxOf } from './boxes.js';
import { Legend } from './legend.js';
import { MapCanvas } from './map-canvas.js';
import { scaleOf, type Scale } from './paint.js';
import { savePictures, type Drawn, type PictureType } from './pictures.js';
import { applies, reasonAgainst, type Look, type Shown, type Target } from './state.js';

interface Props {
  readonly models: readonly ServedModel[];
  readonly methods: readonly MethodDescription[];
  readonly picture: Shown;
  readonly look: Look;
  readonly targets: Readonly<Record<string, Target>>;
  readonly rows: readonly string[];
  readonly isOneRange: boolean;
  readonly onRows: (rows: readonly string[]) => void;
  readonly onOneRange: (isOneRange: boolean) => void;
}

type Cell = Explained | string;

/** How many cells are asked for at once: other people's requests wait in the same queue. */
const AT_ONCE = 2;

/** Models by methods, on one scale of colors. */
export function Sheet({ models, methods, picture, look, targets, rows, isOneRange, onRows, onOneRange }: Props) {
  const [cells, setCells] = useState<ReadonlyMap<string, Cell>>(new Map());
  const table = useRef<HTMLTableElement>(null);
  const wanted = rows.flatMap((method) =>
    models.filter((model) => applies(model, method)).map((model) => ({ model: model.name, method })),
  );
  const keyOf = (model: string, method: string): string => JSON.stringify([picture.id, model, method, targets[model]]);
  const key = JSON.stringify(wanted.map(({ model, method }) => keyOf(model, method)));
  useEffect(() => {
    const controller = new AbortController();
    const queue = [...wanted];
    const work = async (): Promise<void> => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
        const { model, method } = next;
        const question = { model, method, options: {}, target: targets[model] ?? null };
        let cell: Cell;
        try {
          cell = await explain(picture, question, controller.signal);
        } catch (error) {
          if (controller.signal.aborted) return;
          cell = error instanceof Refusal ? error.message : String(error);
        }
        const at = keyOf(model, method);
        setCells((before) => new Map(before).set(at, cell));
      }
    };
    for (let i = 0; i < AT_ONCE; i++) void work();
    return () => controller.abort();
  }, [key]);

  const cellOf = (model: string, method: string): Cell | undefined => cells.get(keyOf(model, method));
  const scales = useMemo(() => {
    const found = new Map<string, Scale | null>();
    for (const method of rows) {
      const answers = models.flatMap(({ name }) => {
        const cell = cellOf(name, method);
        return cell === undefined || typeof cell === 'string' ? [] : [[name, cell] as const];
      });
      const together = isOneRange ? scaleOf(answers.map(([, { map }]) => map)) : null;
      for (const [name, { map }] of answers) found.set(`${name} ${method}`, isOneRange ? together : scaleOf([map]));
    }
    return found;
  }, [cells, key, isOneRange]);

  const offered = methods.filter(({ name }) => models.some((model) => applies(model, name)));
  const savePicture = (type: PictureType): void => {
    const lines = rows.map((method, row) =>
      models.flatMap(({ name }, column): Drawn[] => {
        const cell = table.current!.tBodies[0]!.rows[row]!.cells[column + 1]!;
        const canvas = cell.querySelector<HTMLCanvasElement>('.frame canvas');
        const caption = canvas?.getAttribute('aria-label') ?? '';
        return canvas === null ? [] : [{ canvas, caption, scale: scales.get(`${name} ${method}`) ?? null }];
      }),
    );
    savePictures(
      lines.filter((line) => line.length > 0),
      look,
      type,
      'sightline-sheet',
    );
  };
  return (
    <section class="sheet" aria-label="Models by methods">
      <div class="bar">
        <label class="field">
          <span>Add a method</span>
          <select
            value=""
            onChange={(event) => {
              if (event.currentTarget.value !== '') onRows([...rows, event.currentTarget.value]);
            }}
          >
            <option value="">choose</option>
            {offered
              .filter(({ name }) => !rows.includes(name))
              .map(({ name }) => (
                <option key={name}>{name}</option>
              ))}
          </select>
        </label>
        <label class="check">
          <input type="checkbox" checked={isOneRange} onChange={(event) => onOneRange(event.currentTarget.checked)} />
          <span>One range in each row</span>
        </label>
        <div class="saving" role="group" aria-label="Save the sheet">
          <button type="button" onClick={() => savePicture('image/png')} disabled={cells.size === 0}>
            Save as PNG
          </button>
          <button type="button" onClick={() => savePicture('image/webp')} disabled={cells.size === 0}>
            WebP
          </button>
        </div>
      </div>
      <p class="hint">
        {isOneRange
          ? 'In a row, a color stands for the same value in every model.'
          : 'Each map runs from its own smallest value to its largest.'}{' '}
        Maps with values below zero are blue against the class and red for it.
      </p>
      <div class="scroll" tabIndex={0} role="group" aria-label="Sheet">
        <table ref={table}>
          <thead>
            <tr>
              <td />
              {models.map(({ name }) => (
                <th key={name} scope="col">
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((method) => (
              <tr key={method}>
                <th scope="row">
                  {method}
                  <button
                    type="button"
                    class="quiet close"
                    aria-label={`Remove ${method}`}
                    onClick={() => onRows(rows.filter((each) => each !== method))}
                  >
                    ×
                  </button>
                </th>
                {models.map((model) => (
                  <td key={model.name}>
                    <SheetCell
                      {...{ model, method, picture, look }}
                      cell={cellOf(model.name, method)}
                      scale={scales.get(`${model.name} ${method}`) ?? null}
                    />
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

interface CellProps {
  readonly model: ServedModel;
  readonly method: string;
  readonly picture: Shown;
  readonly look: Look;
  readonly cell: Cell | undefined;
  readonly scale: Scale | null;
}

function SheetCell({ model, method, picture, look, cell, scale }: CellProps) {
  const reason = reasonAgainst(model, method);
  if (reason !== null) return <p class="hint">Does not apply: {reason}.</p>;
  if (typeof cell === 'string') return <p class="refusal">{cell}</p>;
  const told = cell === undefined ? 'being computed' : cell.map.target.label;
  return (
    <figure>
      <MapCanvas
        bitmap={picture.bitmap}
        map={cell?.map ?? null}
        box={boxOf(model, picture.bitmap)}
        scale={scale}
        look={look}
        label={`${model.name}, ${method}: ${told}`}
        most={320}
        isStale={cell === undefined}
      />
      {scale !== null && cell !== undefined && (
        <Legend scale={scale} look={look} range={[cell.map.min ?? scale.min, cell.map.max ?? scale.max]} />
      )}
      <figcaption>{told}</figcaption>
    </figure>
  );
}
