import { useMemo, useState } from 'preact/hooks';

import type { MethodDescription } from '../requests/describe.js';
import type { ServedModel } from '../service/about.js';
import { explain, type Explained, type Question } from './api.js';
import { boxOf } from './boxes.js';
import { Legend } from './legend.js';
import { MapCanvas } from './map-canvas.js';
import { NOISE, noisyCopy } from './noisy.js';
import { scaleOf, type MapValues } from './paint.js';
import { rankCorrelation, spreadOf } from './ranks.js';
import type { Look, Shown } from './state.js';
import { useAnswer } from './use-answer.js';
import { percent, shortNumber } from './words.js';

interface Props {
  readonly picture: Shown;
  readonly model: ServedModel;
  readonly method: MethodDescription;
  readonly answer: Explained;
  readonly look: Look;
}

/** How many further maps are asked for. */
const REPEATS = 4;

/** The same map once more, by other seeds or of a disturbed picture, and of a model that has learned nothing. */
export function Sureness(props: Props) {
  const [isOpen, setOpen] = useState(false);
  return (
    <details class="more" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>How sure is this map?</summary>
      {/* Nothing is asked before somebody wants to know. */}
      {isOpen && <Checked {...props} />}
    </details>
  );
}

function Checked({ picture, model, method, answer, look }: Props) {
  const hasSeed = method.options.properties['seed'] !== undefined;
  const asked = useMemo<Question>(() => {
    const { index, against } = answer.map.target;
    // Of the same class, whatever a disturbed picture or another model takes for the best.
    const target = index < 0 ? null : { of: index, ...(against && { against: against.index }) };
    return { ...answer.question, target };
  }, [answer]);
  const key = JSON.stringify([picture.id, asked]);
  const repeats = useAnswer(key, async (signal) => {
    const maps: MapValues[] = [];
    for (let i = 1; i <= REPEATS; i++) {
      const seed = Number(asked.options['seed'] ?? 0) + i;
      const copy = hasSeed ? picture : await noisyCopy(picture, model, i);
      const options = hasSeed ? { ...asked.options, seed } : asked.options;
      maps.push((await explain(copy, { ...asked, options }, signal)).map);
    }
    return maps;
  });
  const untrained = useAnswer(key, (signal) => explain(picture, { ...asked, weights: 'shuffled' }, signal));
  const map: MapValues = answer.map;
  const others = repeats.key === key ? repeats.answer : null;
  const blank = untrained.key === key ? untrained.answer : null;
  const drawn = { bitmap: picture.bitmap, box: boxOf(model, picture.bitmap), look };
  const known = others?.map((other) => rankCorrelation(map, other)) ?? [];
  return (
    <div class="sureness" aria-busy={repeats.isLoading || untrained.isLoading}>
      {others === null ? (
        <Waiting isLoading={repeats.isLoading} refusal={repeats.refusal} what="The map is computed anew" />
      ) : (
        <>
          <p class="says">{repeatsSay(known, hasSeed)}</p>
          <Repeats {...{ map, others, known, drawn }} />
        </>
      )}
      {blank === null ? (
        <Waiting
          isLoading={untrained.isLoading}
          refusal={untrained.refusal}
          what="A model of shuffled weights is asked"
        />
      ) : (
        <p class="says">{untrainedSays(blank.map.state === 'nan' ? NaN : rankCorrelation(map, blank.map))}</p>
      )}
      <div class="pair">
        {others !== null && <Spread maps={[map, ...others]} drawn={drawn} />}
        {blank !== null && <Untrained {...{ blank, drawn }} />}
      </div>
      <p class="hint">
        Rank correlation tells whether two maps order the places alike: 1 is the same order, 0 none. A map can be steady
        and still be of a wrong answer. {REPEATS} repeats and one shuffled model are few.
      </p>
    </div>
  );
}

interface WaitingProps {
  readonly isLoading: boolean;
  readonly refusal: string | null;
  readonly what: string;
}

function Waiting({ isLoading, refusal, what }: WaitingProps) {
  if (isLoading || refusal === null) return <p class="hint">{what} …</p>;
  return <p class="refusal">{refusal}</p>;
}

interface Drawn {
  readonly bitmap: ImageBitmap;
  readonly box: ReturnType<typeof boxOf>;
  readonly look: Look;
}

interface RepeatsProps {
  readonly map: MapValues;
  readonly others: readonly MapValues[];
  readonly known: readonly (number | null)[];
  readonly drawn: Drawn;
}

/** On one scale with the map itself. */
function Repeats({ map, others, known, drawn }: RepeatsProps) {
  const scale = useMemo(() => scaleOf([map, ...others]), [map, others]);
  return (
    <div class="tiles">
      {others.map((other, i) => (
        <figure key={i}>
          <MapCanvas {...drawn} map={other} scale={scale} label={`Repeat ${i + 1}`} most={240} />
          <figcaption>{known[i]?.toFixed(2) ?? 'flat'}</figcaption>
        </figure>
      ))}
    </div>
  );
}

function Spread({ maps, drawn }: { readonly maps: readonly MapValues[]; readonly drawn: Drawn }) {
  const spread = useMemo(() => spreadOf(maps), maps);
  const scale = useMemo(() => scaleOf([spread]), [spread]);
  if (scale === null) return null;
  return (
    <figure>
      <MapCanvas {...drawn} map={spread} scale={scale} label="Where the repeats differ" most={480} />
      <Legend scale={scale} look={drawn.look} range={[scale.min, scale.max]} />
      <figcaption>Where the repeats differ: deviation, as a share of the map’s range</figcaption>
    </figure>
  );
}

function Untrained({ blank, drawn }: { readonly blank: Explained; readonly drawn: Drawn }) {
  const { map } = blank;
  const scale = useMemo(() => (map.state === 'ok' ? scaleOf([map]) : null), [map]);
  return (
    <figure>
      <MapCanvas {...drawn} map={map} scale={scale} label="Map of the shuffled model" most={480} />
      {scale !== null && (
        <Legend scale={scale} look={drawn.look} range={[map.min ?? scale.min, map.max ?? scale.max]} />
      )}
      <figcaption>The same network with shuffled weights, which has learned nothing</figcaption>
    </figure>
  );
}

/** @param known the rank correlation with each repeat; null where one is flat */
export function repeatsSay(known: readonly (number | null)[], hasSeed: boolean): string {
  const found = known.filter((each) => each !== null);
  const how = hasSeed
    ? `${known.length} other seeds`
    : `${known.length} copies of the picture with noise of ${percent(NOISE)}`;
  const flat = known.length - found.length;
  if (flat > 0) return `Of ${how}, ${flat} gave a flat map, so they cannot be compared.`;
  const mean = found.reduce((sum, each) => sum + each, 0) / found.length;
  const least = Math.min(...found);
  return `From ${how} comes ${wordOf(least)}: rank correlation ${mean.toFixed(2)} on average, ${least.toFixed(2)} at the least.`;
}

/** What a rank correlation means, in words. */
export function wordOf(correlation: number): string {
  if (correlation >= 0.9) return 'nearly the same map';
  if (correlation >= 0.7) return 'much the same map';
  return correlation >= 0.4 ? 'a map that agrees in part' : 'another map';
}

/** @param correlation with the map of the shuffled model: null where that is flat, NaN where it has no numbers */
export function untrainedSays(correlation: number | null): string {
  const start = 'With its weights shuffled, the network gives';
  if (correlation === null) return `${start} a flat map: this one depends on what the model learned.`;
  if (Number.isNaN(correlation)) return `${start} no numbers, so there is nothing to compare with.`;
  // A map that is turned round follows the picture just as much.
  const strength = Math.abs(correlation);
  const turned = correlation < 0 && strength >= 0.4 ? ', turned round' : '';
  const told = `${start} ${wordOf(strength)}${turned} (rank correlation ${shortNumber(Number(correlation.toFixed(2)))}).`;
  if (strength >= 0.7) {
    return `${told} So this map shows the picture and the network’s shape more than what the model learned; read no reasons into it.`;
  }
  if (strength >= 0.4) return `${told} So part of this map does not come from what the model learned.`;
  return `${told} So this one depends on what the model learned.`;
}
