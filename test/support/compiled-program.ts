import { execFile } from 'node:child_process';
import { readFile, rm } from 'node:fs/promises';
import { join, relative } from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { build, type Plugin } from 'esbuild';

const ROOT = join(import.meta.dirname, '../..');
const SRC = join(ROOT, 'src');
const DIST = join(ROOT, 'dist');

/** The compiled program, as `npm start` runs it. */
export const COMPILED_PROGRAM = 'dist/main.js';

/**
 * The program and its packages, bundled into a few files instead of 1,100: a start takes 0.7 s of CPU time instead of
 * 1.7 s. The path is relative to the root of the repository, like COMPILED_PROGRAM.
 */
export const BUNDLED_PROGRAM = 'node_modules/.cache/webhooks-engine/main.js';
const BUNDLE = join(ROOT, BUNDLED_PROGRAM, '..');

/** A bundle of embedded-program.ts. */
export const EMBEDDED_PROGRAM = 'node_modules/.cache/webhooks-engine/embedded-program.js';

/** Whether dist/ was built from the current sources and packages, as in CI, which builds before it tests. */
export async function isBuilt(): Promise<boolean> {
  const check = promisify(execFile)(process.execPath, [join(ROOT, 'scripts/build.mjs'), '--check']);
  return check.then(
    () => true,
    () => false,
  );
}

/**
 * Compiles to dist/, without the console. Must complete before a test starts the program, because the compiler truncates
 * files that a running program may read.
 */
export async function compileProgram(): Promise<void> {
  const compiler = join(ROOT, 'node_modules/typescript/bin/tsc');
  await promisify(execFile)(process.execPath, [compiler, '-p', join(ROOT, 'tsconfig.build.json')]);
}

export async function bundleProgram(): Promise<void> {
  // File names contain hashes, so a new build does not replace the old files.
  await rm(BUNDLE, { recursive: true, force: true });
  await build({
    entryPoints: {
      main: join(SRC, 'main.ts'),
      'events/catalogue/schema-worker': join(SRC, 'events/catalogue/schema-worker.ts'),
      'embedded-program': join(import.meta.dirname, 'embedded-program.ts'),
    },
    outdir: BUNDLE,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    keepNames: true,
    external: ['pg-native'],
    plugins: [KEEP_LOCATIONS],
    // CommonJS packages call require().
    banner: { js: `import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);` },
    logLevel: 'error',
  });
}

/** Gives each bundled file the location of its compiled file: the program finds, for example, migrations relative to it. */
const KEEP_LOCATIONS: Plugin = {
  name: 'keep-locations',
  setup: (bundle) => {
    bundle.onLoad({ filter: /\.ts$/ }, async ({ path }) => {
      if (!path.startsWith(SRC)) return undefined;
      const place = relative(SRC, path).replace(/ts$/, 'js');
      // The schema thread starts its worker from the bundle.
      const location = join(path.endsWith('schema-thread.ts') ? BUNDLE : DIST, place);
      const text = await readFile(path, 'utf8');
      const contents = text
        .replaceAll('import.meta.url', JSON.stringify(pathToFileURL(location).href))
        .replaceAll('import.meta.dirname', JSON.stringify(join(location, '..')));
      return { contents, loader: 'ts' };
    });
  },
};
