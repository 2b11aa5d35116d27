// Deletes files of packages that the program does not read at run time: type declarations, source maps, and Prisma's query
// compilers for other databases. Half of the size of node_modules.
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';

const folder = process.argv[2];
if (folder === undefined) throw new Error('usage: node deploy/prune.mjs <node_modules>');

const UNUSED = [
  // Copies for bundlers. Node.js loads build/src.
  /[\\/]@opentelemetry[\\/].*[\\/]build[\\/](?:esm|esnext)[\\/]/,
  /\.d\.[cm]?ts$/,
  /\.map$/,
  /[\\/]@types[\\/]/,
  // The generated client imports client and query_compiler_fast_bg.postgresql, as ES modules.
  /[\\/]@prisma[\\/]client[\\/]runtime[\\/](?!client\.m?js$|query_compiler_fast_bg\.postgresql\.(?:wasm-base64\.)?mjs$)/,
];

for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
  const path = join(entry.parentPath, entry.name);
  if (entry.isFile() && UNUSED.some((pattern) => pattern.test(path))) rmSync(path);
}
