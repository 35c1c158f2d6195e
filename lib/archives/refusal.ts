import { SightlineError } from '../support/errors.js';

/** What is wrong with an archive. Codes as `SightlineError`'s; whether `trust` lets it pass. */
export interface Refusal {
  readonly archive: string;
  /** The member's name in the archive; absent where the archive as a whole is meant. */
  readonly member?: string;
  /** Ends the sentence "its member M ..." or "the archive ...". */
  readonly what: string;
}

/** A file that is no TorchScript archive at all, in the words that LibTorch's own refusal gets. */
export function notTorchScript(archive: string, what: string): SightlineError {
  return new SightlineError('NOT_TORCHSCRIPT', `${archive} is not a TorchScript archive that can be loaded: ${what}.`);
}

/** Damage, or what only a forger makes. Nothing lets it pass. */
export function damaged({ archive, member, what }: Refusal): SightlineError {
  return new SightlineError(
    'UNTRUSTED_ARCHIVE',
    `${archive} is damaged or forged: ${subject(member)} ${what}; copy the file again, or export the model again.`,
    {
      details: { archive, member: member ?? null, what: `${subject(member)} ${what}`, trustHelps: false },
    },
  );
}

/** Sound, but more than an image classifier needs. Passes with `trust`. */
export function untrusted({ archive, member, what }: Refusal): SightlineError {
  return new SightlineError(
    'UNTRUSTED_ARCHIVE',
    `${archive} is not trusted: ${subject(member)} ${what}; export the model again with models/export.py, or load it with trust: true (--trust) if you know who made it.`,
    {
      details: { archive, member: member ?? null, trustHelps: true },
    },
  );
}

/** Namespaces that `optimize_for_mobile` and the backends of phones put into archives. */
const OF_PHONES = /\b(?:prepacked|xnnpack|metal(?:_prepack)?|vulkan(?:_prepack)?|_?nnapi)\b/;

/** Sound, but made for another device's operators: trust would not help, since LibTorch does not have them here. */
export function isForPhones({ what }: Refusal): boolean {
  return OF_PHONES.test(what);
}

export function forPhones({ archive, member, what }: Refusal): SightlineError {
  return new SightlineError(
    'NOT_TORCHSCRIPT',
    `${archive} was optimized for mobile devices: ${subject(member)} ${what.replace(/, which no image classifier needs$/, '')}, which LibTorch does not have here; save the plain trace, before optimize_for_mobile.`,
    { details: { archive, member: member ?? null, trustHelps: false } },
  );
}

function subject(member: string | undefined): string {
  return member === undefined ? 'the archive' : `its member ${printable(member)}`;
}

/** Names come from the file: control characters would reach the terminal of whoever reads the message. */
export function printable(name: string): string {
  const text = name.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '?');
  return text.length > 160 ? `${text.slice(0, 160)}...` : text;
}
