import { readFileSync } from 'node:fs';

// The relative path is the same from src/ and from dist/.
const { version, engines } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
  engines: { node: string };
};

/** The program's version in package.json. */
export const VERSION: string = version;
/** The oldest Node.js that the program runs on: `20.19`. */
export const OLDEST_NODE: string = engines.node.replace('>=', '');

/** Whether a version of Node.js, such as `18.20.4`, is older than OLDEST_NODE. */
export function isNodeTooOld(node: string): boolean {
  return node.localeCompare(OLDEST_NODE, 'en', { numeric: true }) < 0;
}
