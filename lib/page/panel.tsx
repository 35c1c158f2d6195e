import { useEffect, useMemo, useRef } from 'preact/hooks';

import type { ViewPanel } from '../pictures/view-file.js';
import type { MethodDescription } from '../requests/describe.js';
import type { ServedModel } from '../service/about.js';
import { explain, explainAsNpy, type Explained, type Question } from './api.js';
import { boxOf } from './boxes.js';
import { Legend } from './legend.js';
import { MapCanvas } from './map-canvas.js';
import { OptionsForm } from './options-form.js';
import { scaleOf } from './paint.js';
import { Predictions } from './predictions.js';
import { savePictures, type Drawn } from './pictures.js';
import { Repeating, useCopy } from './repeating.js';
import { codeOf, commandOf, fileName, isProbability, save, viewFileOf, viewPanelOf } from './share.js';
import { applies, firstMethod, knows, type Look, type Panel, type Shown, type Target, type Zoom } from './state.js';
import { Sureness } from './sureness.js';
import { useAnswer } from './use-answer.js';
import { says, saysNot } from './words.js';

interface Props {
  readonly panel: Panel;
  readonly models: readonly ServedModel[];
  readonly methods: readonly MethodDescription[];
  readonly picture: Shown;
  readonly target: Target | null;
  readonly look: Look;
  readonly zoom: Zoom;
  readonly canClose: boolean;
  readonly onPanel: (panel: Panel) => void;
  readonly onTarget: (target: Target) => void;
  readonly onZoom: (zoom: Zoom) => void;
  readonly onClose: () => void;
  /** Tells what is drawn, for files of the whole view. @returns a function that takes it back */
  readonly onDrawn: (panel: DrawnPanel) => () => void;
}

/** A panel for a file of the whole view. */
export interface DrawnPanel {
  readonly drawn: () => Drawn;
  readonly view: () => ViewPanel;
}

const FAMILIES = [
  ['cam', 'Class activation'],
  ['attention', 'Attention'],
  ['gradients', 'Pixels and samples'],
] as const;

/** One model's map by one method. */
export function PanelCard(props: Props) {
  const { panel, models, methods, picture, target, look, zoom, onPanel, onTarget, onDrawn } = props;
  const model = models.find(({ name }) => name === panel.model)!;
  const method = methods.find(({ name }) => name === panel.method)!;
  const question: Question = { model: panel.model, method: panel.method, options: panel.options, target };
  const key = JSON.stringify([picture.id, question]);
  const asked = useAnswer(key, (signal) => explain(picture, question, signal));
  // An answer about the picture before this one would lie.
  const isOfPicture = asked.key?.startsWith(`[${picture.id},`) ?? false;
  const answer = isOfPicture ? asked.answer : null;
  const scale = useMemo(() => (answer?.map.state === 'ok' ? scaleOf([answer.map]) : null), [answer]);
  const box = boxOf(model, picture.bitmap);
  const card = useRef<HTMLElement>(null);
  const shownMethod = methods.find(({ name }) => name === answer?.method) ?? method;
  const shownModel = models.find(({ name }) => name === answer?.model) ?? model;
  const told = answer === null ? null : { model: answer.model, method: shownMethod, map: answer.map, scale };
  const name = `${panel.method} of ${panel.model}`;
  const drawn = (): Drawn => ({
    canvas: card.current!.querySelector<HTMLCanvasElement>('.frame canvas')!,
    caption: answer === null ? name : `${answer.model}, ${answer.method}: ${answer.map.target.label}`,
    scale,
  });
  useEffect(() => {
    if (answer === null) return undefined;
    const view = (): ViewPanel =>
      viewPanelOf(picture, shownModel, shownMethod, answer, commandOf(picture.name, answer.question, look));
    return onDrawn({ drawn, view });
  });
  return (
    <article class="panel" aria-label={name} aria-busy={asked.isLoading} ref={card}>
      <header>
        <label class="pick">
          <span class="hidden">Model</span>
          <select
            value={panel.model}
            onChange={(event) => {
              const next = models.find((each) => each.name === event.currentTarget.value)!;
              const kept = applies(next, panel.method);
              onPanel({ ...panel, model: next.name, ...(!kept && { method: firstMethod(next), options: {} }) });
            }}
          >
            {models.map((each) => (
              <option key={each.name}>{each.name}</option>
            ))}
          </select>
        </label>
        <label class="pick method">
          <span class="hidden">Method</span>
          <select
            value={panel.method}
            onChange={(event) => onPanel({ ...panel, method: event.currentTarget.value, options: {} })}
          >
            {FAMILIES.map(([family, label]) => (
              <optgroup key={family} label={label}>
                {methods
                  .filter((each) => each.family === family && applies(model, each.name))
                  .map((each) => (
                    <option key={each.name}>{each.name}</option>
                  ))}
              </optgroup>
            ))}
          </select>
        </label>
        {props.canClose && (
          <button type="button" class="quiet close" aria-label={`Remove ${name}`} onClick={props.onClose}>
            ×
          </button>
        )}
      </header>
      <MapCanvas
        bitmap={picture.bitmap}
        map={answer?.map ?? null}
        box={box}
        scale={scale}
        look={look}
        zoom={zoom}
        onZoom={props.onZoom}
        isStale={asked.isLoading}
        label={told === null ? `${picture.name}, without a map yet` : `${name}. ${says(told)}`}
      />
      {scale !== null && answer !== null && (
        <Legend scale={scale} look={look} range={[answer.map.min ?? 0, answer.map.max ?? 0]} />
      )}
      {asked.refusal !== null && (
        <p class="refusal" role="alert">
          {asked.refusal}
        </p>
      )}
      {told !== null && (
        <p class="says">
          {says(told)} <span>{saysNot(told)}</span>
        </p>
      )}
      {!knows(model, picture.sample) && (
        <p class="note">
          {model.name} has no class for what is on this picture: it knows {model.labels.length} others.
        </p>
      )}
      {answer !== null && (
        <Predictions
          predictions={withChosen(answer)}
          target={{
            of: answer.map.target.index,
            ...(answer.map.target.against && { against: answer.map.target.against.index }),
          }}
          isProbability={isProbability(model)}
          onTarget={onTarget}
        />
      )}
      <details class="more">
        <summary>Options of {panel.method}</summary>
        <p class="hint">{method.summary}</p>
        <OptionsForm
          method={method}
          model={model}
          options={panel.options}
          onOptions={(options) => onPanel({ ...panel, options })}
        />
      </details>
      {answer !== null && (
        <>
          {scale !== null && <Sureness {...{ picture, answer, look }} model={shownModel} method={shownMethod} />}
          <Saving {...{ picture, answer, look, drawn }} model={shownModel} method={shownMethod} />
        </>
      )}
    </article>
  );
}

/** The best classes, and the chosen ones where they are not among them. */
function withChosen({ predictions, map: { target } }: Explained): Explained['predictions'] {
  const chosen = [target, ...(target.against === undefined ? [] : [target.against])];
  const others = chosen.filter(({ index }) => index >= 0 && !predictions.some((each) => each.index === index));
  return [...predictions, ...others.map(({ index, label, score }) => ({ index, label, score }))];
}

interface SavingProps {
  readonly picture: Shown;
  readonly model: ServedModel;
  readonly method: MethodDescription;
  readonly answer: Explained;
  readonly look: Look;
  readonly drawn: () => Drawn;
}

function Saving({ picture, model, method, answer, look, drawn }: SavingProps) {
  const { question } = answer;
  const { done, copy } = useCopy();
  const base = fileName(picture.name, model.name, method.name);
  const file = picture.name;
  const command = commandOf(file, question, look);
  const code = codeOf(file, question);
  return (
    <details class="more">
      <summary>Save and repeat</summary>
      <div class="saving">
        {(['image/png', 'image/webp'] as const).map((type) => (
          <button key={type} type="button" onClick={() => savePictures([[drawn()]], look, type, base)}>
            Picture ({type === 'image/png' ? 'PNG' : 'WebP'})
          </button>
        ))}
        <button
          type="button"
          onClick={() => void explainAsNpy(picture, question).then((blob) => save(blob, `${base}.npy`))}
        >
          Map (.npy)
        </button>
        <button
          type="button"
          onClick={() =>
            void viewFileOf(picture, [viewPanelOf(picture, model, method, answer, command)], look).then((html) =>
              save(new Blob([html], { type: 'text/html' }), `${base}.html`),
            )
          }
        >
          HTML file
        </button>
      </div>
      <Repeating what="Command" of="map" text={command} copy={copy} />
      <Repeating what="Code" of="map" text={code} copy={copy} />
      <p role="status" class="hint">
        {done}
      </p>
    </details>
  );
}
