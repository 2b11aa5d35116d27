import { expect, test } from 'vitest';
import { unlessAborted } from '../../src/lib/waiting.ts';

test('work that has not settled when the signal aborts is rejected with the reason', async () => {
  const stop = new AbortController();
  const result = unlessAborted(stop.signal, new Promise(() => undefined));
  stop.abort(new Error('stopped'));
  await expect(result).rejects.toThrow('stopped');
  await expect(unlessAborted(new AbortController().signal, Promise.resolve('done'))).resolves.toBe('done');
});
