import { VARIABLES } from './variables.ts';

const WIDTH = 100;
const INDENT = '      ';

/** The part of `--help` about the environment variables. */
export function renderVariables(): string {
  return [
    'The engine is set by environment variables. An empty value counts as unset, except for',
    `${namesOf('canBeEmpty')}.`,
    '',
    'A secret can be in a file instead, which the variable with _FILE after its name names:',
    ...wrap(`${namesOf('isSecret')}.`),
    '',
    ...VARIABLES.flatMap(({ name, shownDefault, meaning }) => [
      `  ${plain(`${name} (default: ${shownDefault})`)}`,
      ...wrap(plain(meaning), INDENT),
    ]),
  ].join('\n');
}

/** The names of the variables with a flag, in one sentence part. */
function namesOf(flag: 'canBeEmpty' | 'isSecret', format: (name: string) => string = plain): string {
  const names = VARIABLES.filter((variable) => variable[flag]).map(({ name }) => format(name));
  return [names.slice(0, -1).join(', '), ...names.slice(-1)].join(' and ');
}

/** Without code marks, and without the targets of links. */
function plain(markdown: string): string {
  return markdown.replaceAll('`', '').replaceAll(/\[([^\]]+)\]\([^)]+\)/g, '$1');
}

/** The lines of a text, at most 100 characters wide. */
export function wrap(text: string, indent = ''): string[] {
  const lines = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1) ?? '';
    if (line !== '' && indent.length + line.length + word.length >= WIDTH) lines.push(word);
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
  }
  return lines.map((line) => `${indent}${line}`);
}

/** The page docs/configuration.md. */
export function renderConfigurationPage(): string {
  const rows = VARIABLES.map(({ name, shownDefault, meaning }) => [code(name), shownDefault, meaning]);
  const lines = [['variable', 'default', 'meaning'], ['---', '---', '---'], ...rows].map(
    (cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`,
  );
  return `<!-- Printed from src/config/variables.ts by \`npm run generate\`: change the table there. -->

# Configuration

Everything is set by environment variables. They are read once, at the start; if any are wrong, the program names all
the problems at once and ends with code 1. An empty value counts as unset,
except for ${namesOf('canBeEmpty', code)}.

A secret can be in a file, such as a mounted secret of Docker or Kubernetes: \`<NAME>_FILE\` names the file, in place of the
variable \`<NAME>\`. White space around the value, such as a newline at the end, is ignored. This holds for
${namesOf('isSecret', code)}.

${lines.join('\n')}
`;
}

function code(name: string): string {
  return `\`${name}\``;
}
