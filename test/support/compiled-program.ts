import { execFile } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { type BuildOptions, build, type Plugin } from 'esbuild';
import { NODE_FLAGS } from '../../src/relaunch.ts';

const ROOT = join(import.meta.dirname, '../..');
const SRC = join(ROOT, 'src');
const MAIN = join(SRC, 'main.ts');
const DIST = join(ROOT, 'dist');

/** The compiled program, as `npm start` runs it. */
export const COMPILED_PROGRAM = 'dist/main.js';

/**
 * The program and its packages in one file in place of 1,100, with a code cache: a start takes 0.6 s of CPU time in place of
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
  const options: BuildOptions = {
    bundle: true,
    platform: 'node',
    target: 'node20',
    keepNames: true,
    plugins: [KEEP_LOCATIONS],
    logLevel: 'error',
  };
  const modules = build({
    ...options,
    entryPoints: {
      main: join(import.meta.dirname, 'cached-program.ts'),
      'events/catalogue/schema-worker': join(SRC, 'events/catalogue/schema-worker.ts'),
      'embedded-program': join(import.meta.dirname, 'embedded-program.ts'),
    },
    outdir: BUNDLE,
    splitting: true,
    format: 'esm',
    external: ['pg-native'],
    // CommonJS packages call require().
    banner: { js: `import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);` },
  });
  await Promise.all([modules, bundleScript(options)]);
  await writeCodeCache();
}

/** Writes program.cjs, a function for cached-program.ts: Node.js has code caches for scripts and not for modules. */
async function bundleScript(options: BuildOptions): Promise<void> {
  const { outputFiles } = await build({
    ...options,
    entryPoints: [MAIN],
    write: false,
    format: 'cjs',
    // The last two are large strings that few starts need.
    external: ['pg-native', '@graphql-yoga/render-graphiql', '*.wasm-base64.mjs'],
  });
  // A script with a code cache has no import().
  const text = (outputFiles[0]?.text ?? '').replace(/^#!.*/, '').replaceAll(/\bimport\(/g, 'load(');
  await writeFile(join(BUNDLE, 'program.cjs'), `(require, module, load) => {${text}}`);
}

/** Starts the program with a configuration that it refuses after it has loaded all modules. */
async function writeCodeCache(): Promise<void> {
  const args = [...NODE_FLAGS, join(ROOT, BUNDLED_PROGRAM)];
  const env = { PORT: 'none', WRITE_CODE_CACHE: '1' };
  await promisify(execFile)(process.execPath, args, { env }).catch((error: unknown) => {
    if (!String(error).includes('PORT must be')) throw error;
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
      const contents = (path === MAIN ? withoutTopLevelAwait(text) : text)
        .replaceAll('import.meta.url', JSON.stringify(pathToFileURL(location).href))
        .replaceAll('import.meta.dirname', JSON.stringify(join(location, '..')));
      return { contents, loader: 'ts' };
    });
  },
};

/** Puts everything after the imports into an async function, because a script has no top-level await. */
function withoutTopLevelAwait(module: string): string {
  return module.replace(/^((?:#!.*\n)?(?:import .*\n)*)([^]*)$/, '$1void (async () => {$2})();');
}
