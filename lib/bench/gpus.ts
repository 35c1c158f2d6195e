import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** A GPU at one moment, as nvidia-smi tells it; null for what it does not tell. */
export interface GpuState {
  readonly index: number | null;
  readonly name: string | null;
  readonly driver: string | null;
  /** The newest CUDA that the driver serves. */
  readonly cuda: string | null;
  readonly memoryBytes: number | null;
  readonly memoryUsedBytes: number | null;
  /** MHz, now and at most. */
  readonly smClock: number | null;
  readonly smClockMax: number | null;
  readonly memoryClock: number | null;
  readonly memoryClockMax: number | null;
  /** Watts. */
  readonly powerDraw: number | null;
  readonly powerLimit: number | null;
  /** Degrees Celsius. */
  readonly temperature: number | null;
  /** Percent of the last sample period in which a kernel ran. */
  readonly utilization: number | null;
  /** Why clocks are below their highest, as a bit mask in hexadecimal; 0x...1 is idleness. */
  readonly throttleReasons: string | null;
  readonly persistence: string | null;
  readonly mig: string | null;
}

const MEBIBYTE = 2 ** 20;
const text = (value: string): string => value;
const mebibytes = (value: string): number | null => scaled(value, MEBIBYTE);
const number = (value: string): number | null => scaled(value, 1);

function scaled(value: string, factor: number): number | null {
  const parsed = Number(value);
  return value === '' || !Number.isFinite(parsed) ? null : parsed * factor;
}

/** What is asked of nvidia-smi, and how its answer is read. */
const QUERIES = [
  ['index', 'index', number],
  ['name', 'name', text],
  ['driver', 'driver_version', text],
  ['memoryBytes', 'memory.total', mebibytes],
  ['memoryUsedBytes', 'memory.used', mebibytes],
  ['smClock', 'clocks.sm', number],
  ['smClockMax', 'clocks.max.sm', number],
  ['memoryClock', 'clocks.mem', number],
  ['memoryClockMax', 'clocks.max.mem', number],
  ['powerDraw', 'power.draw', number],
  ['powerLimit', 'power.limit', number],
  ['temperature', 'temperature.gpu', number],
  ['utilization', 'utilization.gpu', number],
  ['throttleReasons', 'clocks_throttle_reasons.active', text],
  ['persistence', 'persistence_mode', text],
  ['mig', 'mig.mode.current', text],
] as const satisfies readonly (readonly [
  Exclude<keyof GpuState, 'cuda'>,
  string,
  (value: string) => string | number | null,
])[];

/** Newer drivers renamed it; some know only one of the names. */
const OTHER_NAMES: Readonly<Record<string, string>> = {
  'clocks_throttle_reasons.active': 'clocks_event_reasons.active',
};

/** Runs nvidia-smi; rejects with what it wrote where it fails. */
export type NvidiaSmi = (args: readonly string[]) => Promise<string>;

const installed: NvidiaSmi = async (args) => {
  try {
    return (await promisify(execFile)('nvidia-smi', [...args], { timeout: 20_000 })).stdout;
  } catch (error) {
    const { stdout = '', message } = error as Error & { stdout?: string };
    throw new Error(`${stdout}\n${message}`, { cause: error });
  }
};

/** Every GPU of the machine, none where there is no working nvidia-smi. */
export async function gpuStates(nvidiaSmi: NvidiaSmi = installed): Promise<GpuState[]> {
  const asked: string[] = QUERIES.map(([, query]) => query);
  const dropped = new Set<string>();
  let answer: string | null = null;
  // One field that a driver does not know fails the whole question.
  while (answer === null) {
    const fields = asked.filter((field) => !dropped.has(field));
    try {
      answer = await nvidiaSmi([`--query-gpu=${fields.join(',')}`, '--format=csv,noheader,nounits']);
    } catch (error) {
      const unknown = /Field "([^"]+)" is not a valid field/.exec((error as Error).message)?.[1];
      const at = unknown === undefined ? -1 : asked.indexOf(unknown);
      if (at < 0 || dropped.has(unknown!)) return [];
      const other = OTHER_NAMES[unknown!];
      if (other === undefined) dropped.add(unknown!);
      else asked[at] = other;
    }
  }
  const kept = QUERIES.filter((_, i) => !dropped.has(asked[i]!));
  const cuda = /CUDA Version\s*:\s*([\d.]+)/.exec(await nvidiaSmi([]).catch(() => ''))?.[1] ?? null;
  return answer
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const cells = line.split(',').map((cell) => cell.trim());
      const state = Object.fromEntries(QUERIES.map(([name]) => [name, null])) as Record<string, string | number | null>;
      // "[N/A]", "[Not Supported]", "[Unknown Error]" and the like: it does not know.
      kept.forEach(
        ([name, , read], i) => (state[name] = /^\[.*\]$|^N\/A$|^$/.test(cells[i] ?? '') ? null : read(cells[i]!)),
      );
      return { ...state, cuda } as unknown as GpuState;
    });
}
