// Builds the program into dist/. With --when-changed, builds only if dist/ is not the result of the current sources and
// packages. With --check, never builds: the exit code is 0 if dist/ is up to date, otherwise 1.
// Compares contents, because a checkout of another revision changes modification times.
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
/** Hashes of the sources and of the contents of dist/. The file does not exist during a build and after a failed build. */
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
  // Delete everything: the compiler keeps the output of deleted sources and does not rewrite the output of unchanged ones.
  for (const name of readdirSync(DIST)) rmSync(join(DIST, name), { recursive: true });
  console.log('Generating the database client and the GraphQL types…');
  run('npm', ['run', '--silent', 'generate']);
  console.log('Compiling…');
  run(process.execPath, [COMPILER, '-p', 'tsconfig.build.json']);
  console.log('Building the console…');
  run(process.execPath, [BUNDLER, 'build', 'console', '--logLevel', 'warn']);
  writeFileSync(MARK, `${sources} ${hashOf([DIST])}`);
  // After a build by root (sudo npm start), the owner of the repository must still be able to build.
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

/** Hash of the names and contents of all files except generated ones, which are made from the others. */
function hashOf(paths) {
  const hash = createHash('sha256');
  for (const path of paths.flatMap(treeOf)) {
    if (path === MARK || GENERATED.some((folder) => path.startsWith(folder)) || statSync(path).isDirectory()) continue;
    const content = readFileSync(path);
    hash.update(`${path.slice(ROOT.length)}\0${content.length}\0`).update(content);
  }
  return hash.digest('hex');
}

/** The path and everything below it, sorted. Empty if the path does not exist. */
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
