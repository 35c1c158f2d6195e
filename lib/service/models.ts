import type { LoadOptions } from '../model/load.js';
import { Model } from '../model/model.js';
import { ServiceFailure } from './failure.js';

/** An open model, the promise of one, or the name or path of one that the service loads. */
export type GivenModel = string | Model | Promise<Model>;

/** `failed`: it could not be loaded. `unloaded`: it was freed and can be loaded again. */
export type ModelState = 'loading' | 'ready' | 'failed' | 'unloaded';

/** A model that requests hold while they run. */
interface Open {
  readonly model: Model;
  readonly isOwn: boolean;
  users: number;
  /** Called when the last request lets it go; set once no other request can get it. */
  unused: (() => void) | null;
}

interface Entry {
  given: GivenModel;
  state: ModelState;
  open: Open | null;
  /** Settles when the last change that was asked for is done. */
  change: Promise<void>;
}

/** The models of a service, by name. Each can be replaced while requests run on the one before. */
export class ServedModels {
  private readonly entries = new Map<string, Entry>();

  /** Begins to load what is not open yet. */
  constructor(
    models: Readonly<Record<string, GivenModel>>,
    private readonly load: LoadOptions,
  ) {
    for (const [name, given] of Object.entries(models)) this.put(name, given).catch(() => undefined);
  }

  get names(): readonly string[] {
    return [...this.entries.keys()];
  }

  get open(): readonly Model[] {
    return [...this.entries.values()].flatMap(({ open }) => open?.model ?? []);
  }

  /** All by name; null for one that is not ready. */
  all(): { readonly name: string; readonly model: Model | null }[] {
    return [...this.entries].map(([name, { open }]) => ({ name, model: open?.model ?? null }));
  }

  /** As the model repository of the Open Inference Protocol lists them. */
  index(): { readonly name: string; readonly version: string; readonly state: string; readonly reason: string }[] {
    const states = { loading: 'LOADING', ready: 'READY', failed: 'UNAVAILABLE', unloaded: 'UNAVAILABLE' } as const;
    return [...this.entries].map(([name, { state }]) => ({
      name,
      version: '1',
      state: states[state],
      reason: states[state] === 'UNAVAILABLE' ? state : '',
    }));
  }

  /** @throws ServiceFailure NOT_FOUND */
  stateOf(name: string): ModelState {
    return this.entry(name).state;
  }

  /**
   * The model for one request, which calls `release` when its work has ended: until then it is not closed.
   *
   * @throws ServiceFailure NOT_FOUND, NOT_READY
   */
  hold(name: string): { readonly model: Model; readonly release: () => void } {
    const { open, state } = this.entry(name);
    if (open === null) {
      const reason = {
        loading: 'is being loaded; try again later',
        failed: 'could not be loaded',
        unloaded: 'was unloaded',
        ready: 'is not open',
      }[state];
      throw new ServiceFailure('NOT_READY', `The model ${name} ${reason}.`);
    }
    open.users++;
    let isHeld = true;
    return {
      model: open.model,
      release: () => {
        if (!isHeld) return;
        isHeld = false;
        if (--open.users === 0) open.unused?.();
      },
    };
  }

  /** Adds a model, or puts it in another's place once it is loaded. Where loading fails, the one before stays. */
  async put(name: string, given: GivenModel): Promise<void> {
    const entry = this.entries.get(name) ?? { given, state: 'loading', open: null, change: Promise.resolve() };
    this.entries.set(name, entry);
    return this.change(entry, async () => {
      if (entry.open === null) entry.state = 'loading';
      const isOwn = typeof given === 'string';
      let model: Model;
      try {
        // Bytes only, whatever the caller says: what a request sends is never the path of a file.
        model = await (isOwn ? Model.load(given, { ...this.load, imageFiles: false, svg: false }) : given);
      } catch (error) {
        if (entry.open === null) entry.state = 'failed';
        throw error;
      }
      const before = entry.open;
      Object.assign(entry, { given, state: 'ready', open: { model, isOwn, users: 0, unused: null } });
      if (before !== null && before.model !== model) await retire(before);
    });
  }

  /**
   * Loads a model again from its name or path; an open one of the caller's is put back.
   *
   * @throws ServiceFailure NOT_FOUND
   */
  async reload(name: string): Promise<void> {
    return this.put(name, this.entry(name).given);
  }

  /**
   * Frees a model once the requests that run on it have ended.
   *
   * @throws ServiceFailure NOT_FOUND
   */
  async unload(name: string): Promise<void> {
    const entry = this.entry(name);
    return this.change(entry, async () => {
      const before = entry.open;
      Object.assign(entry, { state: 'unloaded', open: null });
      if (before !== null) await retire(before);
    });
  }

  /** Waits for all, and rejects with the first that could not be loaded. */
  async ready(): Promise<void> {
    await Promise.all([...this.entries.values()].map(({ change }) => change));
  }

  /** Closes those that were loaded here. */
  async close(): Promise<void> {
    await Promise.all(
      [...this.entries.keys()].map(async (name) => {
        await this.unload(name);
      }),
    );
  }

  /** One after the other, in the order in which they were asked for. */
  private change(entry: Entry, work: () => Promise<void>): Promise<void> {
    entry.change = entry.change.then(work, work);
    // Whoever asked for it hears of its failure; the next change does not.
    entry.change.catch(() => undefined);
    return entry.change;
  }

  private entry(name: string): Entry {
    const found = this.entries.get(name);
    if (found !== undefined) return found;
    throw new ServiceFailure('NOT_FOUND', `There is no model of that name; there are ${this.names.join(', ')}.`);
  }
}

async function retire(open: Open): Promise<void> {
  if (open.users > 0) await new Promise<void>((resolve) => (open.unused = resolve));
  if (open.isOwn) await open.model.close();
}
