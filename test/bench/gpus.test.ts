import { describe, expect, it } from 'vitest';

import { gpuStates, type NvidiaSmi } from '../../lib/bench/gpus.js';

const HEADER = '| NVIDIA-SMI 570.86.15   Driver Version: 570.86.15   CUDA Version: 12.8     |';

const ANSWERS: Record<string, string> = {
  index: '0',
  name: 'NVIDIA L4',
  driver_version: '570.86.15',
  'memory.total': '23034',
  'memory.used': '412',
  'clocks.sm': '2040',
  'clocks.max.sm': '2040',
  'clocks.mem': '6250',
  'clocks.max.mem': '6251',
  'power.draw': '[N/A]',
  'power.limit': '72.00',
  'temperature.gpu': '41',
  'utilization.gpu': '97',
  'clocks_throttle_reasons.active': '0x0000000000000004',
  'clocks_event_reasons.active': '0x0000000000000004',
  persistence_mode: 'Enabled',
  'mig.mode.current': '[Not Supported]',
};

/** An nvidia-smi that knows some fields only, and refuses the first other one. */
function smi(known: readonly string[], asked: string[] = []): NvidiaSmi {
  return async ([query]) => {
    if (query === undefined) return HEADER;
    asked.push(query);
    const fields = query.slice('--query-gpu='.length).split(',');
    const unknown = fields.find((field) => !known.includes(field));
    if (unknown !== undefined) throw new Error(`Field "${unknown}" is not a valid field to query.`);
    return `${fields.map((field) => ANSWERS[field]).join(', ')}\n`;
  };
}

const ALL = Object.keys(ANSWERS);

describe('gpuStates', () => {
  it('reads nvidia-smi in plain units, and null for what it does not tell', async () => {
    expect(await gpuStates(smi(ALL))).toEqual([
      {
        ...{
          index: 0,
          name: 'NVIDIA L4',
          driver: '570.86.15',
          cuda: '12.8',
          memoryBytes: 23034 * 2 ** 20,
          memoryUsedBytes: 412 * 2 ** 20,
        },
        ...{
          smClock: 2040,
          smClockMax: 2040,
          memoryClock: 6250,
          memoryClockMax: 6251,
          powerDraw: null,
          powerLimit: 72,
          temperature: 41,
          utilization: 97,
        },
        ...{ throttleReasons: '0x0000000000000004', persistence: 'Enabled', mig: null },
      },
    ]);
  });

  it('asks by the newer name, and goes on without a field that is unknown', async () => {
    const [renamed] = await gpuStates(smi(ALL.filter((field) => field !== 'clocks_throttle_reasons.active')));
    expect(renamed!.throttleReasons).toBe('0x0000000000000004');
    const asked: string[] = [];
    const [older] = await gpuStates(
      smi(
        ALL.filter((field) => !field.includes('reasons') && field !== 'mig.mode.current'),
        asked,
      ),
    );
    expect(older).toMatchObject({
      name: 'NVIDIA L4',
      persistence: 'Enabled',
      throttleReasons: null,
      mig: null,
      temperature: 41,
    });
    expect(asked).toHaveLength(4);
  });

  it('finds none where there is no nvidia-smi, or where it fails', async () => {
    expect(await gpuStates(() => Promise.reject(new Error('spawn nvidia-smi ENOENT')))).toEqual([]);
    expect(
      await gpuStates(() => Promise.reject(new Error('Field "something.else" is not a valid field to query.'))),
    ).toEqual([]);
  });

  it('reads several GPUs', async () => {
    const two: NvidiaSmi = async ([query]) => {
      if (query === undefined) return '';
      const line = query
        .slice('--query-gpu='.length)
        .split(',')
        .map((field) => ANSWERS[field])
        .join(', ');
      return `${line}\n${line.replace(/^0/, '1')}\n`;
    };
    const states = await gpuStates(two);
    expect(states.map(({ index, cuda }) => [index, cuda])).toEqual([
      [0, null],
      [1, null],
    ]);
  });
});
