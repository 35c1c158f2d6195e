import type { Streamed } from './call.js';

/** A body that is written while its work goes on, for web-standard responses. */
export function webStream(body: Streamed): ReadableStream<Uint8Array<ArrayBuffer>> {
  const lines = body[Symbol.asyncIterator]();
  const encoder = new TextEncoder();
  return new ReadableStream({
    pull: async (controller) => {
      const line: IteratorResult<string, unknown> = await lines.next();
      if (line.done === true) controller.close();
      else controller.enqueue(encoder.encode(line.value));
    },
    cancel: async () => void (await lines.return?.()),
  });
}
