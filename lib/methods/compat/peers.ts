import { z } from 'zod';

/** Packages whose numbers some methods can reproduce where they differ from the paper's. */
export type Peer = 'pytorch-grad-cam' | 'torch-cam' | 'captum' | 'xplique' | 'pair' | 'vit-explain';

/**
 * The option `compat` of a method that some packages compute in another way. Left out, the method follows its paper;
 * else the method's table `compat` says how the package does it.
 */
export function compatWith<const Peers extends readonly [Peer, ...Peer[]]>(...peers: Peers) {
  return z
    .enum(peers, {
      error: `${peers.map((peer) => `'${peer}'`).join(' or ')} is expected; leave it out for the paper's definition`,
    })
    .optional();
}
