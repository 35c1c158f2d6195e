/** Why a difference is above the limit: by method and, where given, peer, models and options. */
export const EXCEPTIONS = [];
