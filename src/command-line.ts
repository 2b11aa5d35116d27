import { CAN_BE_EMPTY, VARIABLES } from './config/variables.ts';
import { VERSION } from './lib/version.ts';

/** The command that the arguments give: run, or print a text and end with an exit code. */
export type Command =
  | { readonly kind: 'run' }
  | { readonly kind: 'print'; readonly text: string; readonly exitCode: 0 | 1 };

const WIDTH = 100;
const INDENT = '      ';

/** Reads the arguments after the script's name. Nothing but the name of an unknown one is repeated: its value may be a secret. */
export function readArguments(args: readonly string[]): Command {
  const unknown = args.find((arg) => !['--help', '-h', '--version', '-v'].includes(arg));
  if (unknown !== undefined) return { kind: 'print', text: describeUnknown(unknown), exitCode: 1 };
  const [first] = args;
  if (first === undefined) return { kind: 'run' };
  const isVersion = first === '--version' || first === '-v';
  return { kind: 'print', text: isVersion ? `webhooks-engine ${VERSION}` : renderHelp(), exitCode: 0 };
}

function describeUnknown(arg: string): string {
  const [, variable] = /^-{0,2}([A-Z][A-Z0-9_]*)=/.exec(arg) ?? [];
  if (variable !== undefined) {
    return `${variable} is an environment variable, not an argument: set it before the command (${variable}=… node dist/main.js).`;
  }
  const [name = ''] = /^-{0,2}\w[\w-]{0,39}(?=$|=)/.exec(arg) ?? [];
  const what = name === '' ? 'There is an unknown argument' : `The argument ${name} is unknown`;
  return `${what}: everything is set by environment variables, which --help lists.`;
}

function renderHelp(): string {
  return [
    `webhooks-engine ${VERSION}: delivers published events as signed webhooks.`,
    '',
    'Usage: npm start, or node dist/main.js',
    '',
    '  --help, -h     prints this text',
    '  --version, -v  prints the version',
    '',
    'Everything else is set by environment variables. An empty value counts as unset,',
    `except for ${[...CAN_BE_EMPTY].join(' and ')}.`,
    '',
    ...VARIABLES.flatMap(({ name, default: value, meaning }) => [
      `  ${name} (default: ${value})`,
      ...wrap(meaning.replaceAll('`', '')).map((line) => `${INDENT}${line}`),
    ]),
    '',
    'SIGTERM and SIGINT stop the program in an orderly way, within 25 s; a second one ends it at once.',
  ].join('\n');
}

function wrap(text: string): string[] {
  const lines = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1) ?? '';
    if (line !== '' && INDENT.length + line.length + word.length >= WIDTH) lines.push(word);
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
  }
  return lines;
}
