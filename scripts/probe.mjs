/**
 * Loads the addon as sightline does and prints what it says of itself. For a process of its own: a library that is
 * missing, of another version or at odds with the driver may end the one that loads it.
 */
import { chooseAddon, loadAddon } from '../lib/setup/addon.mjs';
import { runCommand } from '../lib/setup/setup-error.mjs';

await runCommand(async () => {
  const binding = /** @type {{ versions(): object }} */ (loadAddon(chooseAddon()));
  console.log(JSON.stringify(binding.versions()));
});
