import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CrashTestResult } from './crash-test.ts';
import { hasPassed } from './table.ts';

const RESULTS = join(import.meta.dirname, 'results');

/** Saves the figures, and the output of the processes if the test failed. Returns the folder. */
export async function keepResult({ outputs, ...result }: CrashTestResult): Promise<string> {
  const at = new Date().toISOString();
  const folder = join(RESULTS, `${at.replaceAll(':', '-')}-seed-${result.seed}`);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'result.json'), `${JSON.stringify({ at, ...result }, null, 2)}\n`);
  if (hasPassed({ ...result, outputs })) return folder;
  for (const [name, output] of outputs) await writeFile(join(folder, `${name}.log`), output);
  return folder;
}
