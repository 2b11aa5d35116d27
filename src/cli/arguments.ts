import { parseArgs } from 'node:util';
import { VERSION } from '../lib/version.ts';
import { type CommandName, isCommand, specOf } from './commands.ts';

/** Exit codes. docs/command-line.md documents them. */
export const EXIT = { done: 0, failed: 1, usage: 2 } as const;

/** A command, a request for help, or a text to print before the program exits with an exit code. */
export type Invocation =
  | {
      readonly kind: 'run';
      readonly command: CommandName;
      readonly values: Readonly<Record<string, unknown>>;
      readonly positionals: readonly string[];
    }
  | { readonly kind: 'help'; readonly command: CommandName | undefined }
  | { readonly kind: 'print'; readonly text: string; readonly exitCode: 0 | 2 };

// This file runs before the version of Node.js is checked and before npm packages are loaded: it runs on every version.

/** Parses the arguments after the script's name. Errors quote only names of arguments, because values may be secrets. */
export function readArguments(args: readonly string[]): Invocation {
  const [first, ...rest] = args;
  if (first === undefined) return { kind: 'run', command: 'start', values: {}, positionals: [] };
  if (first === '--version' || first === '-v') {
    return { kind: 'print', text: `webhooks-engine ${VERSION}`, exitCode: EXIT.done };
  }
  if (first === '--help' || first === '-h') return { kind: 'help', command: undefined };
  if (first === 'help') {
    const [name] = rest;
    return { kind: 'help', command: name !== undefined && isCommand(name) ? name : undefined };
  }
  if (!isCommand(first)) return refuse(describeUnknown(first));
  if (rest.includes('--help') || rest.includes('-h')) return { kind: 'help', command: first };
  return readCommand(first, rest);
}

function readCommand(command: CommandName, args: readonly string[]): Invocation {
  const { options, maxPositionals, positionals: usage } = specOf(command);
  try {
    const parsed = parseArgs({ args: [...args], options: { ...options }, allowPositionals: true });
    if (parsed.positionals.length > maxPositionals) {
      const allowed = maxPositionals === 0 ? 'takes no arguments without a name' : `takes: ${usage}`;
      return refuse(`webhooks-engine ${command} ${allowed}. See webhooks-engine ${command} --help.`);
    }
    return { kind: 'run', command, values: parsed.values, positionals: parsed.positionals };
  } catch (error) {
    return refuse(`${explainParseError(error)} See webhooks-engine ${command} --help.`);
  }
}

/** The messages of node:util repeat an argument, which may contain a secret: `--api-key=whk_…`. */
function explainParseError(error: unknown): string {
  const message = error instanceof Error ? error.message : '';
  const name = /'(-{1,2}[A-Za-z][\w-]*)/.exec(message)?.[1];
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (name === undefined) return 'There is an unknown argument.';
  return code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION'
    ? `The option ${name} is unknown.`
    : `The option ${name} has no value where it needs one, or one where it takes none.`;
}

function refuse(text: string): Invocation {
  return { kind: 'print', text, exitCode: EXIT.usage };
}

function describeUnknown(arg: string): string {
  const [, variable] = /^-{0,2}([A-Z][A-Z0-9_]*)=/.exec(arg) ?? [];
  if (variable !== undefined) {
    return `${variable} is an environment variable, not an argument: set it before the command (${variable}=… webhooks-engine start).`;
  }
  const [name = ''] = /^-{0,2}\w[\w-]{0,39}(?=$|=)/.exec(arg) ?? [];
  if (name === '') return 'There is an unknown argument: webhooks-engine --help lists the commands.';
  return name.startsWith('-')
    ? `The option ${name} is unknown: the engine is set by environment variables, which webhooks-engine --help lists.`
    : `The command ${name} is unknown: webhooks-engine --help lists the commands.`;
}
