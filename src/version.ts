import { readFileSync } from 'node:fs';

// The same relative path from src/ and from dist/.
const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

/** The program's version, as package.json has it. */
export const VERSION: string = version;
