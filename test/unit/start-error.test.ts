import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { explainStartFailure, ServerStartError, StartError } from '../../src/lib/start-error.ts';
import { createTempFolder } from '../support/temp-folder.ts';

const errorOf = (work: Promise<unknown>) =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  );

function explained(error: unknown): string {
  const result = explainStartFailure(error, '/data');
  expect(result).toBeInstanceOf(StartError);
  return result instanceof Error ? result.message : '';
}

test('a system error becomes a sentence that names the path', async () => {
  const folder = await createTempFolder();
  await mkdir(join(folder.path, 'there'));
  const exists = await errorOf(mkdir(join(folder.path, 'there')));
  expect(explained(exists)).toContain(`${join(folder.path, 'there')} is not a folder`);
  expect(explained(await errorOf(readdir(join(folder.path, 'gone'))))).toContain(
    `${folder.path}/gone cannot be used (ENOENT)`,
  );
  await folder.remove();
  const refused = Object.assign(new Error('EACCES'), { code: 'EACCES', path: '/data/lock.12.34' });
  expect(explained(refused)).toMatch(/^This user may not use DATA_DIR \(\/data\): .*"sudo chown -R \d+:\d+ \/data"/);
});

test.each([
  ['initdb: error: could not write: No space left on device', 'is full'],
  ['FATAL:  could not extend file\nHINT:  Check free disk space.', 'is full'],
  ['open /data/nats: Read-only file system', 'read-only'],
  ['FATAL:  could not open file "x": Permission denied', 'may not use DATA_DIR (/data):'],
  ['FATAL:  insufficient file descriptors available to start server process', 'ulimit -n'],
])('the last output of a server that exits becomes a sentence: %s', (output, sentence) => {
  expect(explained(new ServerStartError('Postgres ended while it started (exit code 1)', output))).toContain(sentence);
});

test('other output of a server is kept, in one line', () => {
  const error = new ServerStartError('Postgres ended while it started (exit code 1)', 'FATAL:  one\n  HINT:  two\n');
  expect(explainStartFailure(error, '/data')).toBe(error);
  expect(error.message).toBe('Postgres ended while it started (exit code 1): FATAL:  one; HINT:  two');
});

test('an unexpected error is not changed', () => {
  const bug = new TypeError('x is not a function');
  expect(explainStartFailure(bug, '/data')).toBe(bug);
});
