/** Takes uploads in Fastify 5 (field `image` of a form) and answers with predictions and the map's values. */
import multipart from '@fastify/multipart';
import fastify, { type FastifyInstance } from 'fastify';
import { SightlineError, type Model } from 'sightline';

const STATUS: Partial<Record<SightlineError['code'], number>> = {
  INVALID_IMAGE: 415,
  INVALID_INPUT: 400,
  QUEUE_FULL: 503,
};

export async function createServer(model: Model): Promise<FastifyInstance> {
  const server = fastify();
  await server.register(multipart, { limits: { fileSize: 10 * 1024 * 1024, files: 1 } });

  server.post('/explain', async (request, reply) => {
    const file = await request.file();
    if (file === undefined) {
      return await reply.code(400).send({ error: 'Send a form with a file in the field "image".' });
    }
    const [explained] = await model.explain(await file.toBuffer(), {
      method: 'cam',
      size: 'grid',
      maxPixels: 50_000_000,
    });
    const { predictions, maps } = explained!;
    return { predictions, map: { shape: maps[0]!.shape, data: Array.from(maps[0]!.data) } };
  });

  server.setErrorHandler((error, _request, reply) => {
    if (!(error instanceof SightlineError)) return reply.send(error);
    return reply.code(STATUS[error.code] ?? 500).send({ code: error.code, error: error.message });
  });
  return server;
}
