import type { MethodDescription } from '../requests/describe.js';
import type { OptionSchema } from '../requests/options-schema.js';
import type { ServedModel } from '../service/about.js';
import { Slider } from './look-controls.js';

interface Props {
  readonly method: MethodDescription;
  readonly model: ServedModel;
  readonly options: Readonly<Record<string, unknown>>;
  readonly onOptions: (options: Readonly<Record<string, unknown>>) => void;
}

/** The options of any method, read from the schemas that the library checks them by. */
export function OptionsForm({ method, model, options, onOptions }: Props) {
  const set = (name: string, value: unknown): void => {
    const { [name]: _, ...others } = options;
    const isDefault = value === undefined || value === defaultOf(method, name);
    onOptions(isDefault ? others : { ...others, [name]: value });
  };
  const fields = Object.entries(method.options.properties).map(([name, schema]) => (
    <OptionField
      key={name}
      name={name}
      schema={schema}
      model={model}
      value={options[name] ?? defaultOf(method, name)}
      onValue={(value) => set(name, value)}
    />
  ));
  return (
    <div class="options">
      {fields}
      {Object.keys(options).length > 0 && (
        <button type="button" class="quiet" onClick={() => onOptions({})}>
          Back to the defaults
        </button>
      )}
    </div>
  );
}

const defaultOf = (method: MethodDescription, name: string): unknown =>
  method.defaults[name] ?? method.options.properties[name]?.default;

/** `discardRatio` as `Discard ratio`. */
const titleOf = (name: string): string =>
  name
    .replace(/^./, (first) => first.toUpperCase())
    .replace(/[A-Z](?!^)/g, (letter, at: number) => (at === 0 ? letter : ` ${letter.toLowerCase()}`));

interface FieldProps {
  readonly name: string;
  readonly schema: OptionSchema;
  readonly model: ServedModel;
  readonly value: unknown;
  readonly onValue: (value: unknown) => void;
}

function OptionField({ name, schema, model, value, onValue }: FieldProps) {
  const label = titleOf(name);
  const { description: hint } = schema;
  if (name === 'startBlock' || name === 'endBlock') {
    const last = model.attention.length - 1;
    const number = Number(value ?? 0);
    const block = number < 0 ? last + 1 + number : number;
    return (
      <Slider
        label={name === 'startBlock' ? 'From block' : 'To block'}
        value={block}
        min={0}
        max={last}
        step={1}
        shown={String(block)}
        hint={hint}
        onValue={(next) => onValue(name === 'endBlock' && next === last ? -1 : next)}
      />
    );
  }
  const choices = choicesOf(name, schema, model);
  if (choices !== null) {
    const isRequired = value !== undefined;
    return (
      <label class="field" title={hint}>
        <span>{label}</span>
        <select
          value={typeof value === 'string' || typeof value === 'number' ? String(value) : ''}
          onChange={(event) => {
            const text = event.currentTarget.value;
            onValue(text === '' ? undefined : (choices.find((choice) => String(choice) === text) ?? text));
          }}
        >
          {!isRequired && <option value="">none</option>}
          {isRequired && schema.default === undefined && <option value="">none</option>}
          {choices.map((choice) => (
            <option key={choice} value={String(choice)}>
              {typeof choice === 'number' ? `head ${choice}` : choice}
            </option>
          ))}
        </select>
      </label>
    );
  }
  if (schema['type'] === 'boolean') {
    return (
      <label class="check" title={hint}>
        <input type="checkbox" checked={value === true} onChange={(event) => onValue(event.currentTarget.checked)} />
        <span>{label}</span>
      </label>
    );
  }
  const range = rangeOf(schema);
  if (range === null) return null;
  const { min, max, step } = range;
  if (max !== null && max - min <= 1000) {
    const number = Number(value ?? min);
    return (
      <Slider
        label={label}
        value={number}
        min={min}
        max={max}
        step={step}
        shown={String(number)}
        hint={hint}
        onValue={onValue}
      />
    );
  }
  return (
    <label class="field" title={hint}>
      <span>{label}</span>
      <input
        type="number"
        min={min}
        max={max ?? undefined}
        step={step}
        value={value === undefined ? '' : Number(value)}
        onChange={(event) => onValue(event.currentTarget.value === '' ? undefined : Number(event.currentTarget.value))}
      />
    </label>
  );
}

/** Texts of an `enum`; where a head's number may stand in their place, those too. */
function choicesOf(name: string, schema: OptionSchema, model: ServedModel): (string | number)[] | null {
  const texts = schema['enum'] as string[] | undefined;
  if (texts !== undefined) return texts;
  const either = schema['anyOf'] as OptionSchema[] | undefined;
  const found = either?.find((each) => Array.isArray(each['enum']))?.['enum'] as string[] | undefined;
  if (found === undefined) return null;
  const heads = name === 'headFusion' ? Math.max(0, ...model.attention.map((site) => site.heads)) : 0;
  return [...found, ...Array.from({ length: heads }, (_, head) => head)];
}

function rangeOf(schema: OptionSchema): { min: number; max: number | null; step: number } | null {
  const isWhole = schema['type'] === 'integer';
  if (!isWhole && schema['type'] !== 'number') return null;
  const step = isWhole ? 1 : 0.01;
  const above = schema['exclusiveMinimum'] as number | undefined;
  const below = schema['exclusiveMaximum'] as number | undefined;
  const min = (schema['minimum'] as number | undefined) ?? (above === undefined ? 0 : above + step);
  const most = (schema['maximum'] as number | undefined) ?? (below === undefined ? undefined : below - step);
  return { min: Math.max(min, -1e6), max: most === undefined || most > 1e9 ? null : most, step };
}
