import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { renderHelp } from '../../src/config/help.ts';
import { VARIABLES } from '../../src/config/variables.ts';
import { isNodeTooOld, OLDEST_NODE, VERSION } from '../../src/lib/version.ts';
import { readArguments } from '../../src/main.ts';
import { missingFlags, NODE_FLAGS } from '../../src/relaunch.ts';

function refusal(...args: string[]): string {
  const command = readArguments(args);
  expect(command).toMatchObject({ kind: 'print', exitCode: 1 });
  return command.kind === 'print' ? command.text : '';
}

describe('the arguments', () => {
  test('none of them runs the program', () => {
    expect(readArguments([])).toEqual({ kind: 'run' });
  });

  test.each(['--help', '-h'])('%s prints the help, which names every variable with its default', (arg) => {
    expect(readArguments([arg])).toEqual({ kind: 'help' });
    const help = renderHelp();
    for (const { name, shownDefault } of VARIABLES) {
      expect(help).toContain(`${name} (default: ${shownDefault.replaceAll('`', '')})`);
    }
    expect(help).not.toContain('](');
    expect(help.split('\n').filter((line) => line.length > 100 && !line.startsWith('  '))).toEqual([]);
  });

  test.each(['--version', '-v'])('%s prints the version', (arg) => {
    expect(readArguments([arg])).toEqual({ kind: 'print', text: `webhooks-engine ${VERSION}`, exitCode: 0 });
  });

  test('an unknown one is an error, whatever stands beside it', () => {
    expect(refusal('--port')).toContain('The argument --port is unknown');
    expect(refusal('--help', 'start')).toContain('The argument start is unknown');
  });

  test('a variable that is given as an argument gets a hint, and no value is repeated', () => {
    expect(refusal('DATABASE_URL=postgres://u:hidden@h/db')).toContain('DATABASE_URL is an environment variable');
    const values = [
      'PORT=hidden',
      '--DATABASE_URL=hidden',
      '--admin-key=hidden',
      'postgres://u:hidden@h/db',
      'a hidden',
    ];
    for (const arg of values) expect(refusal(arg)).not.toContain('hidden');
  });
});

describe('the flags of Node.js', () => {
  test('are those of `npm start`', () => {
    const { scripts } = JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8')) as {
      scripts: Record<string, string>;
    };
    expect(scripts['start']).toBe(`exec node ${NODE_FLAGS.join(' ')} dist/main.js`);
  });

  test('are missing unless the command line or NODE_OPTIONS has them, with any value and spelling', () => {
    expect(missingFlags(['--inspect'])).toEqual(NODE_FLAGS);
    expect(missingFlags(NODE_FLAGS)).toEqual([]);
    expect(missingFlags(['--max_semi_space_size=8'], ' --enable-source-maps  --trace-gc')).toEqual([]);
    expect(missingFlags(['--max-semi-space-size=8'])).toEqual(['--enable-source-maps']);
  });
});

test('a Node.js that is older than package.json asks for is too old', () => {
  const [major, minor] = OLDEST_NODE.split('.').map(Number);
  const older = [`${(major ?? 0) - 2}.20.0`, `${major ?? 0}.${(minor ?? 0) - 1}.9`, `${major ?? 0}.9.0`];
  expect(older.map(isNodeTooOld)).toEqual([true, true, true]);
  expect([`${OLDEST_NODE}.0`, `${OLDEST_NODE}.1`, '100.1.0'].map(isNodeTooOld)).toEqual([false, false, false]);
});
