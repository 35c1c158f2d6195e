import { useMemo } from 'preact/hooks';

import type { ServedModel } from '../service/about.js';
import { partsOf } from './api.js';
import { Slider } from './look-controls.js';
import { classNames, nodesOf, type Wanted } from './maximize-question.js';
import { useAnswer } from './use-answer.js';

interface Props {
  readonly models: readonly ServedModel[];
  readonly model: ServedModel;
  readonly draft: Wanted;
  readonly isRunning: boolean;
  readonly onDraft: (draft: Wanted) => void;
  readonly onModel: (model: ServedModel) => void;
  readonly onStart: () => void;
  readonly onStop: () => void;
}

/** What is to be maximized. */
export function MaximizeForm({ models, model, draft, isRunning, onDraft, onModel, onStart, onStop }: Props) {
  const kinds = [
    ...(model.labels.length > 0 ? [['class', 'A class'] as const] : []),
    ['channel', 'A channel'] as const,
    ...(model.attention.length > 0 ? [['head', 'An attention head'] as const] : []),
  ];
  return (
    <form
      class="bar wanted"
      onSubmit={(event) => {
        event.preventDefault();
        onStart();
      }}
    >
      <label class="field">
        <span>Model</span>
        <select
          value={model.name}
          onChange={(event) => onModel(models.find(({ name }) => name === event.currentTarget.value)!)}
        >
          {models.map(({ name }) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      </label>
      <label class="field">
        <span>What</span>
        <select
          value={draft.what}
          onChange={(event) => onDraft({ ...draft, what: event.currentTarget.value as Wanted['what'] })}
        >
          {kinds.map(([what, label]) => (
            <option key={what} value={what}>
              {label}
            </option>
          ))}
        </select>
      </label>
      {draft.what === 'class' && <ClassField {...{ model, draft, onDraft }} />}
      {draft.what === 'channel' && <ChannelFields {...{ model, draft, onDraft }} />}
      {draft.what === 'head' && <HeadFields {...{ model, draft, onDraft }} />}
      <Slider
        label="Steps"
        value={draft.steps}
        min={16}
        max={512}
        step={16}
        shown={String(draft.steps)}
        onValue={(steps) => onDraft({ ...draft, steps })}
      />
      <label class="field">
        <span>Seed</span>
        <input
          type="number"
          min={0}
          max={4294967295}
          step={1}
          value={draft.seed}
          onChange={(event) => onDraft({ ...draft, seed: Math.max(0, Math.trunc(Number(event.currentTarget.value))) })}
        />
      </label>
      <div class="own">
        <button type="submit" class="main">
          Make the picture
        </button>
        <button type="button" onClick={onStop} disabled={!isRunning}>
          Stop
        </button>
      </div>
    </form>
  );
}

interface FieldsProps {
  readonly model: ServedModel;
  readonly draft: Wanted;
  readonly onDraft: (draft: Wanted) => void;
}

/** A thousand classes are found by typing. */
function ClassField({ model, draft, onDraft }: FieldsProps) {
  const names = useMemo(() => classNames(model.labels), [model]);
  return (
    <label class="field">
      <span>Class</span>
      <input
        key={model.name}
        type="text"
        list="classes"
        autocomplete="off"
        defaultValue={names[draft.class] ?? ''}
        onChange={(event) => {
          const index = names.indexOf(event.currentTarget.value.trim());
          event.currentTarget.setCustomValidity(index < 0 ? 'Choose one of the classes that are listed.' : '');
          if (index >= 0) onDraft({ ...draft, class: index });
        }}
      />
      <datalist id="classes">
        {names.map((name) => (
          <option key={name} value={name} />
        ))}
      </datalist>
    </label>
  );
}

function ChannelFields({ model, draft, onDraft }: FieldsProps) {
  const { answer, refusal } = useAnswer(model.name, (signal) => partsOf(model.name, signal));
  const nodes = useMemo(() => (answer?.name === model.name ? nodesOf(answer) : []), [answer, model]);
  const channels = nodes.find(({ name }) => name === draft.node)?.channels;
  return (
    <>
      <label class="field">
        <span>Node</span>
        <select
          value={draft.node}
          onChange={(event) => onDraft({ ...draft, node: event.currentTarget.value, channel: 0 })}
        >
          {nodes.length === 0 && <option>{draft.node}</option>}
          {nodes.map(({ name }) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      </label>
      <label class="field">
        <span>Channel{channels === undefined ? '' : ` of ${channels}`}</span>
        <input
          type="number"
          min={0}
          max={channels === undefined ? undefined : channels - 1}
          step={1}
          placeholder="all"
          value={draft.channel ?? ''}
          onChange={(event) => {
            const { value } = event.currentTarget;
            onDraft({ ...draft, channel: value === '' ? null : Math.max(0, Math.trunc(Number(value))) });
          }}
        />
      </label>
      {refusal !== null && <p class="refusal">{refusal}</p>}
    </>
  );
}

function HeadFields({ model, draft, onDraft }: FieldsProps) {
  const site = model.attention[draft.block] ?? model.attention[0]!;
  return (
    <>
      <label class="field">
        <span>Block</span>
        <select
          value={draft.block}
          onChange={(event) => onDraft({ ...draft, block: Number(event.currentTarget.value), head: 0 })}
        >
          {model.attention.map(({ name }, block) => (
            <option key={name} value={block}>
              {block}: {name}
            </option>
          ))}
        </select>
      </label>
      <label class="field">
        <span>Head</span>
        <select
          value={draft.head ?? ''}
          onChange={(event) => {
            const { value } = event.currentTarget;
            onDraft({ ...draft, head: value === '' ? null : Number(value) });
          }}
        >
          <option value="">mean of all</option>
          {Array.from({ length: site.heads }, (_, head) => (
            <option key={head} value={head}>
              head {head}
            </option>
          ))}
        </select>
      </label>
    </>
  );
}
