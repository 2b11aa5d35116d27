import { renderVariables, wrap } from '../config/help.ts';
import { VERSION } from '../lib/version.ts';
import { COMMANDS, type CommandName, isCommand, specOf } from './commands.ts';

const INDENT = '      ';

/** The text of `--help`: the commands, and the environment variables of the engine. */
export function renderHelp(): string {
  const names = Object.keys(COMMANDS).filter(isCommand);
  return [
    `webhooks-engine ${VERSION}: delivers published events as signed webhooks.`,
    '',
    'Usage: webhooks-engine [<command>] [<options>]',
    '',
    ...names.flatMap((name) => entry(`  ${name}`, specOf(name).summary)),
    '',
    '  <command> --help  prints the options of a command',
    '  --version, -v     prints the version',
    '',
    renderVariables(),
  ].join('\n');
}

/** The text of `<command> --help`. */
export function renderCommandHelp(name: CommandName): string {
  const { summary, positionals, notes, examples, options } = specOf(name);
  const usage = ['webhooks-engine', name, positionals, Object.keys(options).length > 0 ? '[<options>]' : ''];
  return [
    `Usage: ${usage.filter((part) => part !== '').join(' ')}`,
    '',
    ...wrap(summary, ''),
    ...notes.flatMap((note) => wrap(note, '')),
    ...(Object.keys(options).length > 0 ? ['', 'Options:'] : []),
    ...Object.entries(options).flatMap(([option, { value, meaning }]) =>
      entry(`  --${option}${value === undefined ? '' : ` ${value}`}`, meaning),
    ),
    ...(examples.length > 0 ? ['', 'Examples:', ...examples.map((example) => `  ${example}`)] : []),
  ].join('\n');
}

function entry(title: string, text: string): string[] {
  return [title, ...wrap(text, INDENT)];
}
