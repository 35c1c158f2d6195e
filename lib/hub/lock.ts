/**
 * The lock of a blob that is being fetched. huggingface_hub's own locks are flock(2), which Node cannot take, so this
 * is the lock file of set-up.
 */
export { acquireLock, ownPlace, type HeldLock } from '../setup/file-lock.mjs';
