import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { connectApi, payloadOf } from '../../src/cli/api.ts';
import { readArguments } from '../../src/cli/arguments.ts';
import { COMMANDS, isCommand } from '../../src/cli/commands.ts';
import { inOptions } from '../../src/cli/failure.ts';
import { renderCommandHelp, renderHelp } from '../../src/cli/help.ts';
import { parseTime } from '../../src/cli/options.ts';
import { countOf, renderTable } from '../../src/cli/output.ts';
import { VARIABLES } from '../../src/config/variables.ts';
import { isNodeTooOld, OLDEST_NODE, VERSION } from '../../src/lib/version.ts';
import { missingFlags, NODE_FLAGS } from '../../src/relaunch.ts';

function refusal(...args: string[]): string {
  const invocation = readArguments(args);
  expect(invocation).toMatchObject({ kind: 'print', exitCode: 2 });
  return invocation.kind === 'print' ? invocation.text : '';
}

/** The help text that the arguments request. */
function help(...args: string[]): string {
  const invocation = readArguments(args);
  if (invocation.kind !== 'help') throw new Error('it is no request for help');
  const text = invocation.command === undefined ? renderHelp() : renderCommandHelp(invocation.command);
  expect(text.split('\n').filter((line) => line.length > 100 && !line.startsWith('  '))).toEqual([]);
  expect(text).not.toContain('](');
  return text;
}

test('an empty variable counts as unset in the search for the engine and the key', async () => {
  const empty = { WEBHOOKS_ENGINE_URL: '', PORT: ' ', WEBHOOKS_ENGINE_API_KEY: '', ADMIN_API_KEY: '' };
  expect((await connectApi({}, { ...empty, ADMIN_API_KEY: 'x' })).url).toBe('http://127.0.0.1:4000');
  expect((await connectApi({}, { ...empty, WEBHOOKS_ENGINE_API_KEY: 'x', PORT: '4001' })).url).toMatch(/:4001$/);
  const nowhere = { ...empty, ADMIN_API_KEY_FILE: '', DATA_DIR: '/does/not/exist' };
  await expect(connectApi({}, nowhere)).rejects.toThrow('/does/not/exist/admin-api-key cannot be read');
  await expect(connectApi({}, { ...nowhere, DATA_DIR: '' })).rejects.toThrow('.data/admin-api-key cannot be read');
});

describe('the arguments', () => {
  test('no arguments start the engine, like the command start', () => {
    for (const args of [[], ['start']])
      expect(readArguments(args)).toMatchObject({ kind: 'run', command: 'start', positionals: [] });
  });

  test.each(['--help', '-h', 'help'])('%s names every command, and every variable with its default', (arg) => {
    const text = help(arg);
    for (const { name, shownDefault } of VARIABLES) {
      expect(text).toContain(`${name} (default: ${shownDefault.replaceAll('`', '')})`);
    }
    for (const name of Object.keys(COMMANDS)) expect(text).toContain(`\n  ${name}\n`);
    expect(text.replaceAll(/\s+/g, ' ')).toContain('all accepted (docs/rotation.md).');
    expect(text.replaceAll(/\s+/g, ' ')).toContain('A forward proxy (docs/deployment.md#egress-through-a-proxy) for');
  });

  test.each(Object.keys(COMMANDS).filter(isCommand))('%s --help names every option', (name) => {
    for (const text of [help(name, '--help'), help('help', name)]) {
      for (const option of Object.keys(COMMANDS[name].options)) expect(text).toContain(`  --${option}`);
    }
  });

  test.each(['--version', '-v'])('%s prints the version', (arg) => {
    expect(readArguments([arg])).toEqual({ kind: 'print', text: `webhooks-engine ${VERSION}`, exitCode: 0 });
  });

  test('a command gets its options and its positional arguments', () => {
    expect(readArguments(['publish', 'order.paid', '{}', '--tenant', 'acme', '--json'])).toMatchObject({
      command: 'publish',
      positionals: ['order.paid', '{}'],
      values: { tenant: 'acme', json: true },
    });
    expect(readArguments(['tail', '--type', 'a', '--type=b'])).toMatchObject({ values: { type: ['a', 'b'] } });
  });

  test('an unknown argument is an error, whatever the other arguments are', () => {
    expect(refusal('--port')).toContain('The option --port is unknown');
    expect(refusal('serve')).toContain('The command serve is unknown');
    expect(refusal('tail', '--colour')).toContain('The option --colour is unknown');
    expect(refusal('tail', 'extra')).toContain('takes no arguments without a name');
    expect(refusal('tail', '--tenant')).toContain('The option --tenant has no value');
  });

  test('a variable given as an argument is an error with a hint, and its value is not repeated', () => {
    expect(refusal('DATABASE_URL=postgres://u:hidden@h/db')).toContain('DATABASE_URL is an environment variable');
    const values = [
      'PORT=hidden',
      '--DATABASE_URL=hidden',
      '--admin-key=hidden',
      'postgres://u:hidden@h/db',
      'a hidden',
    ];
    for (const arg of values) expect(refusal(arg)).not.toContain('hidden');
    for (const arg of ['--api-key=hidden', '--json=hidden', '-hidden']) {
      expect(refusal('tail', arg)).not.toContain('hidden');
    }
  });
});

test('a table has columns as wide as their cells, and no control characters', () => {
  const rows = [
    { id: 'a', name: 'long\u001b[31m name' },
    { id: 'bcd', name: null },
  ];
  expect(renderTable(rows)).toBe('id   name\na    long name\nbcd  -');
});

test('a number has a noun in the singular or the plural', () => {
  expect([0, 1, 2].map((count) => countOf(count, 'warning'))).toEqual(['0 warnings', '1 warning', '2 warnings']);
});

test('a refusal names options in place of GraphQL fields, and keeps paths within the data', () => {
  const problems = [
    { path: 'filter.tenant', message: 'is required' },
    { path: 'filter.eventTypes.1', message: 'must be an event type' },
    { path: 'data.user.id', message: 'must be integer' },
  ];
  const text = problems.map(({ path, message }) => `${path} ${message}`).join('; ');
  expect(inOptions(text, problems)).toBe(
    '--tenant is required; --type must be an event type; data.user.id must be integer',
  );
});

test('a refusal lists the problems that its message only counts, and no problem twice', () => {
  const first = { path: 'data.total', message: 'must be number' };
  const second = { path: 'data.items', message: 'must be array' };
  const refusalOf = (message: string, problems: readonly (typeof first)[]) => () =>
    payloadOf({ code: 'EVENT_DATA_INVALID', message, problems });
  expect(refusalOf('data.total must be number (and 1 more)', [first, second])).toThrow(
    'data.total must be number (and 1 more) (EVENT_DATA_INVALID): data.items must be array',
  );
  const withCode = { path: 'url', message: 'The target is not allowed' };
  expect(refusalOf('The target is not allowed', [withCode])).toThrow(
    /^The target is not allowed \(EVENT_DATA_INVALID\)$/,
  );
});

test('a time is ISO 8601, or a duration before now', () => {
  const now = Date.parse('2026-01-02T00:00:00Z');
  expect(parseTime('--from', '6h', now)).toBe('2026-01-01T18:00:00.000Z');
  expect(parseTime('--from', '2026-01-01T00:00:00+01:00', now)).toBe('2026-01-01T00:00:00+01:00');
  for (const text of ['yesterday', '6', '6y', '2026-01-01']) expect(() => parseTime('--from', text)).toThrow('--from');
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

test('a Node.js older than package.json requires is too old', () => {
  const [major, minor] = OLDEST_NODE.split('.').map(Number);
  const older = [`${(major ?? 0) - 2}.20.0`, `${major ?? 0}.${(minor ?? 0) - 1}.9`, `${major ?? 0}.9.0`];
  expect(older.map(isNodeTooOld)).toEqual([true, true, true]);
  expect([`${OLDEST_NODE}.0`, `${OLDEST_NODE}.1`, '100.1.0'].map(isNodeTooOld)).toEqual([false, false, false]);
});
