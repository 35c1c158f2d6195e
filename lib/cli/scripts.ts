/** The set-up's own modules, which are not compiled: ../../scripts from dist/cli as from lib/cli. */
export async function importScript<Module>(name: string): Promise<Module> {
  return (await import(new URL(`../../scripts/${name}`, import.meta.url).href)) as Module;
}
