import { pino } from 'pino';
import { Registry } from 'prom-client';
import { expect, onTestFinished, test, vi } from 'vitest';
import { SchemaThread, SchemaThreadUnavailableError } from '../../src/events/catalogue/schema-thread.ts';

// Starting a thread takes seconds on a busy machine.
vi.setConfig({ testTimeout: 30_000 });

/** Rejecting a text of `a`s that ends in `b` takes far longer than any limit. */
const ENDLESS = JSON.stringify({ type: 'string', pattern: '^(a+)+$' });
const ENDLESS_DATA = Buffer.from(`"${'a'.repeat(100)}b"`);
const NUMBER = JSON.stringify({ type: 'number' });
const LIMITS = { limitMs: 5_000, explainMs: 5_000 };

function startThread(limits: { readonly taskLimitMs?: number; readonly maxHeapMb?: number } = {}) {
  const lines: string[] = [];
  const metrics = new Registry();
  const thread = new SchemaThread({
    log: pino({}, { write: (line: string) => void lines.push(line) }),
    metrics,
    ...limits,
  });
  onTestFinished(() => thread.stop());
  const terminations = async (reason: string) => {
    const { values } = (await metrics.getSingleMetric('webhooks_schema_thread_terminations_total')?.get()) ?? {};
    return values?.find(({ labels }) => labels['reason'] === reason)?.value;
  };
  return { thread, lines, terminations };
}

const checkNumber = async (thread: SchemaThread, ...data: string[]) => {
  const request = { schema: NUMBER, data: data.map((text) => Buffer.from(text)), ...LIMITS };
  return (await thread.check(request)).mismatches.map((mismatch) => mismatch?.count ?? 0);
};

test('every item of data is checked, even if it is a part of a larger buffer', async () => {
  const { thread } = startThread();
  expect(await checkNumber(thread, '1', '"x"', '2')).toEqual([0, 1, 0]);
  const large = Buffer.from('x'.repeat(100_000) + '7' + 'x'.repeat(100_000));
  const { mismatches } = await thread.check({ schema: NUMBER, data: [large.subarray(100_000, 100_001)], ...LIMITS });
  expect(mismatches).toEqual([undefined]);
});

test('the event loop continues during a check that takes half a second', async () => {
  const { thread } = startThread();
  await checkNumber(thread, '1');
  let [turns, isOver] = [0, false];
  const next = () => {
    turns += 1;
    if (!isOver) setTimeout(next, 1);
  };
  next();
  const result = await thread.check({ schema: ENDLESS, data: [ENDLESS_DATA], limitMs: 500, explainMs: 0 });
  isOver = true;
  expect(result).toMatchObject({ mismatches: [undefined], unfinished: expect.stringContaining('timed out') as string });
  expect(result.checkMs).toBeGreaterThan(450);
  // One turn, and at most another one, would also take place around a check that blocks the loop.
  expect(turns).toBeGreaterThan(3);
});

test('data checked before the time limit has its result', async () => {
  const { thread } = startThread();
  const data = [Buffer.from('7'), ENDLESS_DATA, Buffer.from('8')];
  const { mismatches } = await thread.check({ schema: ENDLESS, data, limitMs: 100, explainMs: 5_000 });
  expect(mismatches.map((mismatch) => mismatch?.count)).toEqual([1, undefined, undefined]);
});

test('a task beyond its time limit ends with its thread; the tasks behind it run in another thread', async () => {
  const { thread, lines, terminations } = startThread({ taskLimitMs: 3_000 });
  await checkNumber(thread, '1');
  const endless = thread.check({ schema: ENDLESS, data: [ENDLESS_DATA], limitMs: 60_000, explainMs: 0 });
  const behind = [checkNumber(thread, '"x"'), checkNumber(thread, '2'), thread.compile(NUMBER)];
  await expect(endless).rejects.toThrow('took too long');
  expect(await Promise.all(behind)).toEqual([[1], [0], []]);
  expect(await terminations('time_limit')).toBe(1);
  expect(lines.filter((line) => line.includes('schema thread terminated'))).toHaveLength(1);
});

test('a task beyond the memory limit of the thread ends the thread, not the process', async () => {
  const { thread, terminations } = startThread({ taskLimitMs: 25_000, maxHeapMb: 64 });
  // The validator collects an error for each element and alternative, because no element is a string.
  const schema = JSON.stringify({ contains: { anyOf: Array.from({ length: 20 }, () => ({ type: 'string' })) } });
  const data = Buffer.from(`[${'1,'.repeat(150_000)}1]`);
  const task = thread.check({ schema, data: [data], limitMs: 60_000, explainMs: 0 });
  await expect(task).rejects.toThrow('memory limit');
  expect(await checkNumber(thread, '"x"')).toEqual([1]);
  expect(await terminations('failure')).toBe(1);
});

test('checks come before compilations', async () => {
  const { thread } = startThread();
  const order: string[] = [];
  const note = (name: string) => () => void order.push(name);
  await Promise.all([
    thread.compile(NUMBER).then(note('first')),
    thread.compile(NUMBER).then(note('compile')),
    checkNumber(thread, '1').then(note('check')),
  ]);
  expect(order).toEqual(['first', 'check', 'compile']);
});

test('the queue is bounded by tasks and by bytes', async () => {
  const { thread } = startThread();
  const check = (data: Buffer) => thread.check({ schema: NUMBER, data: [data], limitMs: 1, explainMs: 0 });
  // The first task is running, so only two are waiting.
  const large = Array.from({ length: 3 }, () => check(Buffer.alloc(40 * 1024 * 1024, ' ')).catch(String));
  expect(await large[2]).toContain('too many tasks are waiting');
  const small = Array.from({ length: 64 }, () => check(Buffer.from('1')).catch(String));
  expect(await small[63]).toContain('too many tasks are waiting');
  await thread.stop();
  await Promise.all([...large, ...small]);
});

test('after a stop, every task is rejected, even the running one', async () => {
  const { thread } = startThread();
  const running = thread.check({ schema: ENDLESS, data: [ENDLESS_DATA], limitMs: 60_000, explainMs: 0 });
  const waiting = checkNumber(thread, '1');
  const rejections = Promise.all([running, waiting].map((task) => expect(task).rejects.toThrow('is stopping')));
  await thread.stop();
  await rejections;
  await expect(checkNumber(thread, '1')).rejects.toBeInstanceOf(SchemaThreadUnavailableError);
  await thread.stop();
});

test('a task that cannot begin is rejected, and the next ones are done', async () => {
  const { thread, terminations } = startThread();
  const unreadable = [{ length: 1 } as unknown as Buffer];
  const failing = [1, 2].map(() => thread.check({ schema: NUMBER, data: unreadable, ...LIMITS }));
  const following = checkNumber(thread, '1', '"x"');
  for (const result of await Promise.allSettled(failing)) expect(result.status).toBe('rejected');
  expect(await following).toEqual([0, 1]);
  expect(await terminations('failure')).toBe(2);
});

test('a schema that could not be compiled in time is compiled again by the next check', async () => {
  const { thread } = startThread();
  const properties = Object.fromEntries(Array.from({ length: 300 }, (_, index) => [`p${index}`, { type: 'string' }]));
  const requestOf = (title: string) => ({
    schema: JSON.stringify({ title, properties, required: ['p0'] }),
    data: [Buffer.from('{}')],
    ...LIMITS,
  });
  // On a busy machine, a compilation can end before the limit interrupts it.
  for (let count = 0; count < 20; count += 1) {
    const request = requestOf(String(count));
    const late = await thread.check({ ...request, compileMs: 1 });
    if (late.checkedCount > 0) continue;
    expect(late.unusable).toBeUndefined();
    expect(late.unfinished).toContain('timed out');
    // The validator suspends the type that took longest.
    expect(late.checkMs).toBeGreaterThan(0);
    expect((await thread.check(request)).mismatches[0]?.count).toBe(1);
    return;
  }
  expect.fail('no compilation was interrupted');
});
