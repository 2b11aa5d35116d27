import { writeFileSync } from 'node:fs';
import { CAN_BE_EMPTY, VARIABLES } from '../src/config/variables.ts';

const INTRODUCTION = `<!-- Printed from src/config/variables.ts by \`npm run generate\`: change the table there. -->

# Configuration

Everything is set by environment variables. They are read once, at the start; if any are wrong, the program names all
the problems at once and ends with code 1. An empty value counts as unset,
except for ${[...CAN_BE_EMPTY].map((name) => `\`${name}\``).join(' and ')}.
`;

/** Defaults that describe rather than quote. */
const WORDS: ReadonlySet<string> = new Set(['unset', 'generated', 'empty', "the machine's"]);

const rows = VARIABLES.map(({ name, default: value, meaning }) =>
  [`\`${name}\``, WORDS.has(value) ? value : `\`${value}\``, meaning].map((cell) => cell.replaceAll('|', '\\|')),
);
const table = [['variable', 'default', 'meaning'], ['---', '---', '---'], ...rows].map(
  (row) => `| ${row.join(' | ')} |`,
);
writeFileSync(new URL('../docs/configuration.md', import.meta.url), `${INTRODUCTION}\n${table.join('\n')}\n`);
