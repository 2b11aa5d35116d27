// Builds the program into dist/; with --when-changed only if dist/ is not what these sources and packages were built into,
// and with --check never: the exit code then says whether it is.
// Contents are compared, not times: after a checkout of another revision those say nothing.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  accessSync,
  constants,
  existsSync,
  lchownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';

const ROOT = join(import.meta.dirname, '..');
const DIST = join(ROOT, 'dist');
const GENERATED = ['src/generated', 'console/generated'].map((path) => join(ROOT, path));
const COMPILER = join(ROOT, 'node_modules/typescript/bin/tsc');
const BUNDLER = join(ROOT, 'node_modules/vite/bin/vite.js');
/** Hashes of the sources of dist/ and of its contents; not there while a build runs, nor after one that failed. */
const MARK = join(DIST, '.built-from');
const SOURCES = [
  ...['src', 'console', 'prisma', 'scripts', 'tsconfig.json', 'tsconfig.build.json', 'codegen.ts', 'prisma.config.ts'],
  ...['package.json', 'package-lock.json', 'node_modules/.package-lock.json'],
];

const sources = hashOf(SOURCES.map((name) => join(ROOT, name)));
if (process.argv.includes('--check')) process.exitCode = isBuilt() ? 0 : 1;
else if (!process.argv.includes('--when-changed') || !isBuilt()) build();

function isBuilt() {
  return existsSync(MARK) && readFileSync(MARK, 'utf8') === `${sources} ${hashOf([DIST])}`;
}

function build() {
  if (!existsSync(COMPILER)) stop('The packages that the build needs are not installed: run "npm ci".');
  for (const folder of [DIST, ...GENERATED]) ensureWritable(folder);
  // All of it: the compiler leaves what it once wrote, and writes nothing anew whose source is as it was.
  for (const name of readdirSync(DIST)) rmSync(join(DIST, name), { recursive: true });
  console.log('Generating the database client and the GraphQL types…');
  run('npm', ['run', '--silent', 'generate']);
  console.log('Compiling…');
  run(process.execPath, [COMPILER, '-p', 'tsconfig.build.json']);
  console.log('Building the console…');
  run(process.execPath, [BUNDLER, 'build', 'console', '--logLevel', 'warn']);
  writeFileSync(MARK, `${sources} ${hashOf([DIST])}`);
  // Started once by root (sudo npm start), the next build is the owner's again.
  const { uid, gid } = statSync(ROOT);
  if (process.getuid?.() === 0 && uid !== 0) {
    for (const path of [DIST, ...GENERATED].flatMap(treeOf)) lchownSync(path, uid, gid);
  }
}

function ensureWritable(folder) {
  try {
    mkdirSync(folder, { recursive: true });
    accessSync(folder, constants.W_OK);
  } catch {
    stop(
      `The program has to be built again, and this user may not write to ${folder}: run "npm run build" as the owner of ${ROOT}.`,
    );
  }
}

function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: ROOT, stdio: 'inherit' });
  if (error !== undefined) stop(`${command} could not be run: ${error.message}`);
  if (status !== 0) process.exit(1);
}

function stop(reason) {
  console.error(reason);
  process.exit(1);
}

/** Hash of the names and contents of all the files. Generated files are left out: they are made of the rest. */
function hashOf(paths) {
  const hash = createHash('sha256');
  for (const path of paths.flatMap(treeOf)) {
    if (path === MARK || GENERATED.some((folder) => path.startsWith(folder)) || statSync(path).isDirectory()) continue;
    const content = readFileSync(path);
    hash.update(`${path.slice(ROOT.length)}\0${content.length}\0`).update(content);
  }
  return hash.digest('hex');
}

/** The path and all that is in it, in an order that is always the same; nothing if there is no such path. */
function treeOf(path) {
  if (!existsSync(path)) return [];
  if (!statSync(path).isDirectory()) return [path];
  return [
    path,
    ...readdirSync(path)
      .sort()
      .flatMap((name) => treeOf(join(path, name))),
  ];
}
