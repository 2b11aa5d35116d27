import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { curlCommand, headerLines } from './curl.ts';

const HOSTILE = [`'; touch /tmp/x; '`, '$(id)', '`id`', '!!', '"', '\\', 'line\nbreak', '@/etc/passwd', '%s', 'ünï'];

/** The arguments that a shell passes to curl. */
function argumentsIn(command: string): string[] {
  const script = command.replace(/^curl/, `printf '%s\\0'`);
  return execFileSync('sh', ['-c', script], { encoding: 'utf8' }).split('\0').slice(0, -1);
}

test('a shell passes every hostile value to curl as it is', () => {
  for (const value of HOSTILE) {
    const command = curlCommand({
      url: `https://example.com/?${value}`,
      headers: { 'x-a': value, host: 'h' },
      body: value,
    });
    expect(argumentsIn(command)).toEqual([
      ...['--globoff', '--request', 'POST', `https://example.com/?${value}`],
      ...['--header', `x-a: ${value}`, '--data-raw', value],
    ]);
  }
});

test('a header with several values is several lines, and other JSON is none', () => {
  expect(headerLines({ a: ['1', '2'], b: '3' })).toEqual([
    { name: 'a', value: '1' },
    { name: 'a', value: '2' },
    { name: 'b', value: '3' },
  ]);
  expect([headerLines(null), headerLines('x')]).toEqual([[], []]);
});
