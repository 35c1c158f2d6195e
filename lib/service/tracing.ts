import type { ServiceSpan, ServiceTracer } from './settings.js';

/** `SpanStatusCode.ERROR`, without loading OpenTelemetry for it. */
const FAILED = 2;

/** Runs a part of a request in a span of its own, where there is a tracer. */
export async function traced<T>(
  tracer: ServiceTracer | undefined,
  name: string,
  work: () => Promise<T> | T,
  attributes: Readonly<Record<string, string>> = {},
): Promise<T> {
  if (tracer === undefined) return work();
  const run = async (span: ServiceSpan): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      span.recordException(error as Error);
      span.setStatus({ code: FAILED });
      throw error;
    } finally {
      span.end();
    }
  };
  return tracer.startActiveSpan(`sightline ${name}`, { attributes }, run) as Promise<T>;
}
