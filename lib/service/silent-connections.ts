import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/**
 * Keeps the connections of a server by which nothing has come yet, as browsers and load balancers open them in advance.
 * Node counts them as busy, so that a server that is being closed would wait a minute for each.
 *
 * @returns a function that ends those
 */
export function silentConnections(server: Server): () => void {
  const open = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
  });
  return () => {
    for (const socket of open) if (socket.bytesRead === 0) socket.destroy();
  };
}
