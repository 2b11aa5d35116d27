import { VARIABLES } from './variables.ts';

const WIDTH = 100;
const INDENT = '      ';

/** The section of `--help` about the environment variables. */
export function renderVariables(): string {
  return [
    'The engine is configured by environment variables. An empty value counts as unset, except for',
    `${namesOf('canBeEmpty')}.`,
    '',
    'A secret can be read from a file: set <NAME>_FILE to its path in place of <NAME>. The secrets are',
    ...wrap(`${namesOf('isSecret')}.`),
    '',
    ...VARIABLES.flatMap(({ name, shownDefault, meaning }) => [
      `  ${plain(`${name} (default: ${shownDefault})`)}`,
      ...wrap(plain(meaning), INDENT),
    ]),
  ].join('\n');
}

/** The names of the variables with a flag: "A, B and C". */
function namesOf(flag: 'canBeEmpty' | 'isSecret', format: (name: string) => string = plain): string {
  const names = VARIABLES.filter((variable) => variable[flag]).map(({ name }) => format(name));
  return [names.slice(0, -1).join(', '), ...names.slice(-1)].join(' and ');
}

/** Removes the code marks of Markdown, and writes a link as its text and its page. */
function plain(markdown: string): string {
  return markdown
    .replaceAll('`', '')
    .replaceAll(/\(\[[^\]]+\]\(([^)]+)\)\)/g, '(docs/$1)')
    .replaceAll(/\[([^\]]+)\]\(([^)]+)\)/g, '$1 (docs/$2)');
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
  return `<!-- Generated from src/config/variables.ts by \`npm run generate\`: change the table there. -->

# Configuration

All settings are environment variables, which are read once, at the start. If some of them are wrong, the program prints all
problems and exits with code 1. An empty value counts as unset, except for ${namesOf('canBeEmpty', code)}.

A secret can be read from a file, such as a mounted secret of Docker or Kubernetes: set \`<NAME>_FILE\` to the file's path in
place of \`<NAME>\`. White space around the value, such as a newline at the end, is ignored. The secrets are:

${wrap(`${namesOf('isSecret', code)}.`).join('\n')}

${lines.join('\n')}
`;
}

function code(name: string): string {
  return `\`${name}\``;
}
