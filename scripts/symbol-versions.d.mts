/** The symbols that a library asks for in a newer version than LibTorch does, such as `log@GLIBC_2.29`. */
export function newerSymbols(file: string): string[];
export function symbolVersions(file: string): { name: string; library: string; version: string }[];
