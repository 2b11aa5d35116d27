import { execFile } from 'node:child_process';
import { join } from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';

const ROOT = join(import.meta.dirname, '../..');

/** The program that tests start, from the root of the repository: from its sources each start takes a second longer. */
export const COMPILED_PROGRAM = 'dist/main.js';

/** Before any test starts it: a second compiler would truncate files that a program is reading. */
export async function compileProgram(): Promise<void> {
  const compiler = join(ROOT, 'node_modules/typescript/bin/tsc');
  await promisify(execFile)(process.execPath, [compiler, '-p', join(ROOT, 'tsconfig.build.json')]);
}
