/** Every breach of native/'s rules of rooms, as a sentence. `root`: the project's folder. */
export function checkNativeRooms(root: string): string[];
