import { useEffect, useRef, useState } from 'preact/hooks';

import type { ServedModel } from '../service/about.js';
import { bytesOf, maximize, Refusal } from './api.js';
import { Curve } from './curve.js';
import { MaximizeForm } from './maximize-form.js';
import { maximizeCode, maximizeCommand, questionOf, wantedOf, type Wanted } from './maximize-question.js';
import { Repeating, useCopy } from './repeating.js';
import { fileName, save } from './share.js';
import type { Shown } from './state.js';
import { shortNumber } from './words.js';

interface Props {
  readonly models: readonly ServedModel[];
  readonly picture: Shown;
  /** What is being made, or was made last; null for nothing yet. */
  readonly wanted: Wanted | null;
  readonly onWanted: (wanted: Wanted) => void;
  /** Has the made picture explained. */
  readonly onPicture: (bytes: Blob, name: string) => void;
}

/** How far a picture has come. */
interface Run {
  readonly wanted: Wanted;
  readonly objective: string | null;
  readonly step: number;
  readonly curve: readonly { readonly step: number; readonly activation: number }[];
  readonly picture: Blob | null;
  readonly state: 'running' | 'done' | 'stopped' | 'refused';
  readonly refusal: string | null;
}

/** The picture that excites a part of a model most, while it is made. */
export function Maximizer({ models, picture, wanted, onWanted, onPicture }: Props) {
  const known = models.find(({ name }) => name === wanted?.model) ?? firstModel(models, picture);
  const [draft, setDraft] = useState<Wanted>(() => wanted ?? wantedOf(known, classOn(known, picture)));
  const [run, setRun] = useState<Run | null>(null);
  const work = useRef<AbortController | null>(null);
  const model = models.find(({ name }) => name === draft.model) ?? known;

  const start = (next: Wanted): void => {
    const of = models.find(({ name }) => name === next.model);
    if (of === undefined) return;
    // The last one wins, and what it displaces ends in the engine too.
    work.current?.abort();
    const controller = new AbortController();
    work.current = controller;
    const change = (to: (before: Run) => Partial<Run>): void => {
      if (work.current === controller) setRun((before) => (before === null ? null : { ...before, ...to(before) }));
    };
    setRun({ wanted: next, objective: null, step: 0, curve: [], picture: null, state: 'running', refusal: null });
    maximize(questionOf(next, of), controller.signal, ({ step, activation, image }) =>
      change(({ curve, picture: before }) => ({
        step,
        curve: [...curve, { step, activation }],
        picture: image === undefined ? before : new Blob([bytesOf(image.b64)], { type: image.type }),
      })),
    ).then(
      ({ objective, activations, image }) =>
        change(() => ({
          objective,
          step: next.steps,
          curve: activations,
          picture: new Blob([bytesOf(image.b64)], { type: image.type }),
          state: 'done',
        })),
      (error: unknown) => {
        const refusal = error instanceof Refusal ? error.message : `The page failed: ${String(error)}`;
        change(() => (controller.signal.aborted ? { state: 'stopped' } : { state: 'refused', refusal }));
      },
    );
  };
  // A link that was made of one makes it again.
  useEffect(() => {
    if (wanted !== null) start(wanted);
    return () => work.current?.abort();
  }, []);

  return (
    <section class="maximizer" aria-label="Activation maximization">
      <MaximizeForm
        {...{ models, model, draft }}
        isRunning={run?.state === 'running'}
        onDraft={setDraft}
        onModel={(next) =>
          setDraft({ ...wantedOf(next, classOn(next, picture)), steps: draft.steps, seed: draft.seed })
        }
        onStart={() => {
          onWanted(draft);
          start(draft);
        }}
        onStop={() => work.current?.abort()}
      />
      {run === null ? (
        <div class="made">
          <MadePicture bytes={null} label="Nothing is made yet" />
          <p class="says">
            From gray noise, pixels are moved step by step to where the chosen part of the model answers more.{' '}
            <span>It shows what suffices to excite that part, not what it means, and no photo looks like it.</span>
          </p>
        </div>
      ) : (
        <Made {...{ run, onPicture }} model={models.find(({ name }) => name === run.wanted.model)!} />
      )}
    </section>
  );
}

/** One that knows what is on the picture. */
function firstModel(models: readonly ServedModel[], { sample }: Shown): ServedModel {
  return models.find(({ labels }) => sample?.labels.some((label) => labels.includes(label))) ?? models[0]!;
}

/** The number of a class that is on the picture, or else the first one. */
function classOn({ labels }: ServedModel, { sample }: Shown): number {
  return Math.max(0, ...(sample?.labels ?? []).map((label) => labels.indexOf(label)).slice(0, 1));
}

interface MadeProps {
  readonly run: Run;
  readonly model: ServedModel;
  readonly onPicture: (bytes: Blob, name: string) => void;
}

function Made({ run, model, onPicture }: MadeProps) {
  const { wanted, state, step, curve, refusal } = run;
  const { done, copy } = useCopy();
  const name = nameOf(wanted, model);
  const base = fileName(model.name, name);
  const [first, last] = [curve[0], curve.at(-1)];
  return (
    <div class="made" aria-busy={state === 'running'}>
      <MadePicture bytes={run.picture} label={`Picture that excites ${name} of ${model.name}, after ${step} steps`} />
      <div class="course">
        <h2>{name}</h2>
        <label class="progress">
          <progress max={wanted.steps} value={step} />
          <span>
            {step} of {wanted.steps} steps{state === 'stopped' ? ', stopped' : ''}
          </span>
        </label>
        {first !== undefined && last !== undefined && (
          <>
            <Curve points={curve} steps={wanted.steps} />
            <p class="says" role="status">
              {state === 'running'
                ? ''
                : `From noise that gives ${shortNumber(first.activation)} came a picture that gives ${shortNumber(last.activation)}. `}
              <span>
                It shows what suffices to excite {name}, not what it means. Another seed gives another picture.
              </span>
            </p>
          </>
        )}
        {refusal !== null && (
          <p class="refusal" role="alert">
            {refusal}
          </p>
        )}
        {run.picture !== null && state !== 'running' && (
          <div class="saving">
            <button type="button" onClick={() => onPicture(run.picture!, `${base}.${run.picture!.type.slice(6)}`)}>
              Explain this picture
            </button>
            <button type="button" onClick={() => save(run.picture!, `${base}.${run.picture!.type.slice(6)}`)}>
              Save it
            </button>
          </div>
        )}
        <details class="more">
          <summary>Repeat</summary>
          <Repeating what="Command" of="picture" text={maximizeCommand(wanted, model)} copy={copy} />
          <Repeating what="Code" of="picture" text={maximizeCode(wanted, model)} copy={copy} />
          <p role="status" class="hint">
            {done}
          </p>
        </details>
      </div>
    </div>
  );
}

function nameOf({ what, class: index, node, channel, block, head }: Wanted, { labels }: ServedModel): string {
  if (what === 'class') return labels[index] ?? `class ${index}`;
  if (what === 'channel') return channel === null ? `all channels of ${node}` : `channel ${channel} of ${node}`;
  return head === null ? `all heads of block ${block}` : `head ${head} of block ${block}`;
}

/** On a canvas: the page's policy lets no picture in that does not come from the service as a file. */
function MadePicture({ bytes, label }: { readonly bytes: Blob | null; readonly label: string }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    if (bytes === null) return undefined;
    let isGone = false;
    void createImageBitmap(bytes).then((bitmap) => {
      if (isGone) return;
      const element = canvas.current!;
      // Setting a size clears the canvas, which would flicker.
      if (element.width !== bitmap.width) element.width = bitmap.width;
      if (element.height !== bitmap.height) element.height = bitmap.height;
      element.getContext('2d')!.drawImage(bitmap, 0, 0);
    });
    return () => {
      isGone = true;
    };
  }, [bytes]);
  return <canvas ref={canvas} class="made-picture" width={224} height={224} role="img" aria-label={label} />;
}
