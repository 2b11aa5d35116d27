import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

const ROOT = join(import.meta.dirname, '../..');

let compiling: Promise<unknown> | undefined;

/** The program, compiled once for all the tests that start it: from its sources, each start takes a second longer. */
export async function compiledProgram(): Promise<string> {
  const compiler = join(ROOT, 'node_modules/typescript/bin/tsc');
  await (compiling ??= promisify(execFile)(process.execPath, [compiler, '-p', join(ROOT, 'tsconfig.build.json')]));
  return 'dist/main.js';
}
