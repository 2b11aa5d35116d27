// Runs program.cjs, the bundle of the program beside this file, with the code cache of V8 that an earlier run has written.
// With the variable WRITE_CODE_CACHE it writes the cache when the program ends.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import module from 'node:module';
import { join } from 'node:path';
import { Script } from 'node:vm';

type Program = (require: NodeJS.Require, module: object, load: (name: string) => Promise<unknown>) => void;

const file = join(import.meta.dirname, 'program.cjs');
const cache = join(import.meta.dirname, 'program.cache');
// esbuild writes ASCII.
const script = new Script(readFileSync(file, 'latin1'), {
  filename: file,
  // With another version or other flags of Node.js, V8 compiles the program.
  ...(existsSync(cache) && { cachedData: readFileSync(cache) }),
});
if (process.env['WRITE_CODE_CACHE'] !== undefined) {
  // After the run, so that the cache contains the functions that the start has compiled.
  process.once('exit', () => {
    writeFileSync(cache, script.createCachedData());
  });
}
// `as`: the value of the script is the function that bundleProgram writes.
const run = script.runInThisContext() as Program;
run(module.createRequire(file), { exports: {} }, (name) => import(name));
