import { writeFile } from 'node:fs/promises';
import { VARIABLES } from '../src/config.ts';

const rows = VARIABLES.map(({ name, default: value, meaning }) => `| \`${name}\` | ${value} | ${meaning} |`);
await writeFile('docs/configuration.md', `| variable | default | meaning |\n|---|---|---|\n${rows.join('\n')}\n`);
