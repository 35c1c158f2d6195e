import { z } from 'zod';

/** Libraries whose numbers some methods can reproduce where they differ from the paper's. */
export type Peer = 'pytorch-grad-cam' | 'torch-cam' | 'captum' | 'xplique';

/** The option `compat` of a method that some peers compute in another way; left out, the method follows its paper. */
export function compatWith<const Peers extends readonly [Peer, ...Peer[]]>(...peers: Peers) {
  return z.enum(peers, { error: `${peers.map((peer) => `'${peer}'`).join(' or ')} is expected; leave it out for the paper's definition` }).optional();
}
