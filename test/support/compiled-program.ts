import { execFile } from 'node:child_process';
import { readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { build, type Plugin } from 'esbuild';

const ROOT = join(import.meta.dirname, '../..');
const DIST = join(ROOT, 'dist');

/** The compiled program, as `npm start` runs it. */
export const COMPILED_PROGRAM = 'dist/main.js';

/**
 * The compiled program and its packages in a few files instead of 1,100: a start takes 0.7 s of CPU time instead of 1.7.
 * Relative to the root of the repository, like the other path.
 */
export const BUNDLED_PROGRAM = 'node_modules/.cache/webhooks-engine/main.js';

/** Before any test starts it: a second compiler would truncate files that a program is reading. */
export async function compileProgram(): Promise<void> {
  const compiler = join(ROOT, 'node_modules/typescript/bin/tsc');
  await promisify(execFile)(process.execPath, [compiler, '-p', join(ROOT, 'tsconfig.build.json')]);
  await bundleProgram();
}

async function bundleProgram(): Promise<void> {
  const outdir = join(ROOT, BUNDLED_PROGRAM, '..');
  // File names contain hashes.
  await rm(outdir, { recursive: true, force: true });
  await build({
    entryPoints: [join(ROOT, COMPILED_PROGRAM)],
    outdir,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    keepNames: true,
    external: ['pg-native'],
    plugins: [KEEP_LOCATIONS],
    // Packages that are CommonJS call it.
    banner: { js: `import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);` },
    logLevel: 'error',
  });
}

/** Files that the program finds relative to its own, such as the migrations, are found from where each was. */
const KEEP_LOCATIONS: Plugin = {
  name: 'keep-locations',
  setup: (bundle) => {
    bundle.onLoad({ filter: /\.js$/ }, async ({ path }) => {
      if (!path.startsWith(DIST)) return undefined;
      const text = await readFile(path, 'utf8');
      const contents = text
        .replaceAll('import.meta.url', JSON.stringify(pathToFileURL(path).href))
        .replaceAll('import.meta.dirname', JSON.stringify(dirname(path)));
      return { contents, loader: 'js' };
    });
  },
};
