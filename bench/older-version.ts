import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Report } from '../src/embedded/report.ts';

const REPOSITORY = join(import.meta.dirname, '..');
/** Kept between runs, because a build takes about a minute. */
const FOLDER = join(tmpdir(), 'webhooks-engine-bench-commits');

/** Builds the program of a commit in a folder of its own, unless it is built already, and returns its main file. */
export async function buildCommit(commit: string, report: Report): Promise<string> {
  const run = promisify(execFile);
  const { stdout } = await run('git', ['rev-parse', '--verify', `${commit}^{commit}`], { cwd: REPOSITORY });
  const folder = join(FOLDER, stdout.trim());
  if (!existsSync(folder)) {
    report(`building ${commit} in ${folder}`);
    await mkdir(FOLDER, { recursive: true });
    // Renamed when it is complete: an interrupted build leaves nothing under the final name.
    const building = await mkdtemp(join(FOLDER, 'building-'));
    await runShell(`git archive ${stdout.trim()} | tar -x -C '${building}'`, REPOSITORY);
    await runShell('npm ci --no-audit --no-fund && npm run build', building);
    await rename(building, folder);
  }
  return join(folder, 'dist/main.js');
}

async function runShell(command: string, cwd: string): Promise<void> {
  const child = spawn('sh', ['-ec', command], { cwd, stdio: ['ignore', 'ignore', 'inherit'] });
  await once(child, 'exit');
  if (child.exitCode !== 0) throw new Error(`${command} failed in ${cwd}`);
}
