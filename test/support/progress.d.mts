export const PATIENCE_MS: number;
export function pause(milliseconds: number): Promise<void>;
export class Watch {
  constructor(counters: () => string, processorMs: () => number);
  isStuck(): boolean;
}
export function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  counters?: () => string,
): Promise<void>;
