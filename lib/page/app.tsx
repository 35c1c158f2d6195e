import { useCallback, useEffect, useRef, useState } from 'preact/hooks';

import { keepToken, readBytes, readService, Refusal } from './api.js';
import { AttentionExplorer } from './attention.js';
import { Compare } from './compare.js';
import { LookControls } from './look-controls.js';
import { Maximizer } from './maximize.js';
import { PicturePicker } from './picture-picker.js';
import { linkOf, restored } from './share.js';
import { Sheet } from './sheet.js';
import {
  applies,
  firstPanels,
  LOOK,
  WHOLE,
  type Change,
  type Panel,
  type Sample,
  type Shown,
  type State,
  type Tab,
} from './state.js';

const TABS: readonly (readonly [Tab, string])[] = [
  ['compare', 'Compare'],
  ['attention', 'Attention'],
  ['sheet', 'Sheet'],
  ['maximize', 'Maximize'],
];
const FIRST_ROWS = ['cam', 'grad-cam', 'grad-cam++', 'attention-rollout', 'gae'];
const EMPTY: State = {
  models: [],
  methods: [],
  picture: null,
  tab: 'compare',
  panels: [],
  targets: {},
  look: LOOK,
  zoom: WHOLE,
  explored: null,
  rows: [],
  isOneRange: false,
  wanted: null,
};

let pictures = 0;

export function App() {
  const [state, setState] = useState(EMPTY);
  const [problem, setProblem] = useState<string | null>(null);
  const [asksToken, setAsksToken] = useState(false);
  const change: Change = useCallback((to) => {
    setState((before) => ({ ...before, ...(typeof to === 'function' ? to(before) : to) }));
  }, []);

  /** Shows a picture, or says why it cannot be. */
  const show = useCallback(async (bytes: Blob, name: string, sample: Sample | null): Promise<Shown | null> => {
    let bitmap: ImageBitmap;
    try {
      bitmap = await createImageBitmap(bytes);
    } catch {
      setProblem(`${name} is no picture that this browser can show; choose a JPEG, PNG, WebP, AVIF or GIF.`);
      return null;
    }
    setProblem(null);
    const shown = { id: ++pictures, name, bytes, bitmap, sample };
    // Classes were chosen for what was on the picture before.
    change((before) => ({ picture: shown, zoom: WHOLE, ...(before.picture !== null && { targets: {} }) }));
    return shown;
  }, []);
  const showFile = useCallback((file: Blob, name: string) => void show(file, name, null), []);
  const showSample = useCallback(async (sample: Sample) => {
    const shown = await show(await readBytes(sample.file), sample.file, sample);
    if (shown === null) return;
    change(({ models, panels }) => (isStill(panels, models) ? { panels: firstPanels(models, sample) } : {}));
  }, []);

  const start = useCallback(async () => {
    try {
      // Asked for at once: the picture is known before the models are.
      const early = SAMPLES[0] === undefined || location.hash !== '' ? null : readBytes(SAMPLES[0].file);
      early?.catch(() => undefined);
      const { models, methods } = await readService();
      if (models.length === 0) throw new Refusal('NOT_READY', 'The models are being loaded; open the page again soon.');
      setAsksToken(false);
      const link = restored(location.hash, models);
      const sample = SAMPLES.find(({ id }) => id === link?.sample) ?? SAMPLES[0] ?? null;
      change({
        models,
        methods,
        panels: firstPanels(models, sample),
        rows: FIRST_ROWS.filter((method) => models.some((model) => applies(model, method))),
        ...link?.state,
      });
      if (sample !== null) await show(await (early ?? readBytes(sample.file)), sample.file, sample);
      if (link !== null && link.missing.length > 0) {
        setProblem(`The link asks for what this service does not have: ${link.missing.join(', ')}.`);
      }
      if (link !== null && link.sample === null) {
        setProblem('The link was made of a picture of its maker’s own, which no link can hold; choose it again.');
      }
    } catch (error) {
      if (error instanceof Refusal && error.code === 'UNAUTHORIZED') setAsksToken(true);
      setProblem(error instanceof Error ? error.message : String(error));
    }
  }, []);
  useEffect(() => void start(), []);

  // The address is the link: whoever copies it has the view.
  const own = useRef('');
  useEffect(() => {
    if (state.picture === null) return undefined;
    // Browsers allow few changes of the address in a second; a slider makes sixty.
    const timer = setTimeout(() => {
      own.current = `#${linkOf(state)}`;
      if (location.hash !== own.current) history.replaceState(null, '', own.current);
    }, 250);
    return () => clearTimeout(timer);
  }, [state]);
  useEffect(() => {
    const follow = (): void => {
      if (location.hash !== own.current) void start();
    };
    addEventListener('hashchange', follow);
    return () => removeEventListener('hashchange', follow);
  }, []);

  const { models, methods, picture, tab, targets, look, zoom } = state;
  return (
    <>
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          document.getElementById('main')!.focus();
        }}
      >
        Skip to the maps
      </a>
      <header class="top">
        <h1>
          <svg viewBox="0 0 32 32" aria-hidden="true">
            <path d="M3 16c4-6.500 8.500-9.500 13-9.500S25 9.500 29 16c-4 6.500-8.500 9.500-13 9.500S7 22.500 3 16z" />
            <circle cx="16" cy="16" r="4.500" />
          </svg>
          sightline
        </h1>
        <nav aria-label="Views">
          {TABS.map(([each, label]) => (
            <button
              key={each}
              type="button"
              aria-current={tab === each ? 'page' : undefined}
              onClick={() => change({ tab: each })}
            >
              {label}
            </button>
          ))}
        </nav>
      </header>
      {problem !== null && (
        <div class="problem" role="alert">
          <p>{problem}</p>
          <button type="button" class="quiet" aria-label="Close the message" onClick={() => setProblem(null)}>
            ×
          </button>
        </div>
      )}
      {asksToken && (
        <form
          class="token"
          onSubmit={(event) => {
            event.preventDefault();
            keepToken(event.currentTarget.querySelector('input')!.value);
            setProblem(null);
            void start();
          }}
        >
          <label class="field">
            <span>Token of this service</span>
            <input name="token" type="password" autocomplete="off" required />
          </label>
          <button type="submit" class="main">
            Go on
          </button>
        </form>
      )}
      <div class={tab === 'maximize' ? 'columns single' : 'columns'}>
        {/* What is maximized begins with noise, and needs no picture. */}
        {tab !== 'maximize' && (
          <aside>
            <PicturePicker picture={picture} onFile={showFile} onSample={(sample) => void showSample(sample)} />
            {picture?.sample && <p class="credit">{picture.sample.credit}</p>}
            <LookControls
              look={look}
              zoom={zoom}
              onLook={(next) => change({ look: next })}
              onZoom={(next) => change({ zoom: next })}
            />
          </aside>
        )}
        <main id="main" tabIndex={-1}>
          {picture === null ? (
            <p class="empty">{problem === null ? 'Loading …' : ''}</p>
          ) : tab === 'compare' ? (
            <Compare {...{ state, change, picture }} />
          ) : tab === 'attention' ? (
            <AttentionExplorer
              {...{ models, picture, look }}
              explored={state.explored}
              onExplored={(explored) => change({ explored })}
            />
          ) : tab === 'maximize' ? (
            <Maximizer
              {...{ models, picture }}
              wanted={state.wanted}
              onWanted={(wanted) => change({ wanted })}
              onPicture={(bytes, name) => {
                showFile(bytes, name);
                change({ tab: 'compare' });
              }}
            />
          ) : (
            <Sheet
              {...{ models, methods, picture, look, targets }}
              rows={state.rows}
              isOneRange={state.isOneRange}
              onRows={(rows) => change({ rows })}
              onOneRange={(isOneRange) => change({ isOneRange })}
            />
          )}
        </main>
      </div>
    </>
  );
}

/** Whether the panels are as the page chose them for one of its samples: then it may choose others for another. */
function isStill(panels: readonly Panel[], models: State['models']): boolean {
  const plain = (some: readonly Panel[]): string =>
    JSON.stringify(some.map(({ model, method, options }) => [model, method, options]));
  return SAMPLES.some((sample) => plain(firstPanels(models, sample)) === plain(panels));
}
