import { expect, it } from 'vitest';
import { TenantQueue } from '../../src/lib/tenant-queue.ts';

type Item = { readonly key: number; readonly tenant: string; readonly bytes: number };

const LIMITS = { events: 256, deliveries: 1_000, bytes: 4_000_000 };
let key = 0;

function create(options = { maxEvents: 1_000, maxBytes: 32_000_000 }): TenantQueue<Item> {
  return new TenantQueue(options);
}

function add(queue: TenantQueue<Item>, tenant: string, ...[count, bytes = 10]: [number, number?]): void {
  for (let index = 0; index < count; index += 1) queue.add({ key: (key += 1), tenant, bytes });
}

function tenantsOf(items: readonly Item[]): string {
  return items.map(({ tenant }) => tenant).join('');
}

it('tenants take turns, and each has its events in their order', () => {
  const queue = create();
  add(queue, 'a', 4);
  add(queue, 'b', 2);
  const batch = queue.take(LIMITS);
  expect(tenantsOf(batch)).toMatch(/^(ab|ba)(ab|ba)aa$/);
  const keys = batch.filter(({ tenant }) => tenant === 'a').map((item) => item.key);
  expect(keys).toEqual([...keys].sort((x, y) => x - y));
  expect(queue.size).toBe(0);
});

it('an event of a quiet tenant comes before the rest of a burst', () => {
  const queue = create();
  add(queue, 'a', 600);
  queue.take(LIMITS);
  add(queue, 'b', 1);
  expect(tenantsOf(queue.take({ ...LIMITS, events: 3 }))).toMatch(/^a?b/);
});

it('events that make many deliveries count as many: between two of them, others have as much', () => {
  const queue = create();
  queue.learn('a', 100);
  add(queue, 'a', 3);
  add(queue, 'b', 300);
  const order = tenantsOf(queue.take({ ...LIMITS, events: 150 }));
  expect(order.indexOf('a', order.indexOf('a') + 1) - order.indexOf('a')).toBeGreaterThan(40);
});

it('a batch has no more deliveries than it may, but for one event that makes more', () => {
  const queue = create();
  queue.learn('a', 400);
  queue.learn('b', 5_000);
  add(queue, 'a', 5);
  expect(queue.take(LIMITS)).toHaveLength(2);
  add(queue, 'b', 2);
  expect([queue.take(LIMITS), queue.take(LIMITS), queue.take(LIMITS)].map(tenantsOf)).toContain('b');
});

it('nor more bytes', () => {
  const queue = create();
  add(queue, 'a', 9, 1_000_000);
  expect(queue.take(LIMITS)).toHaveLength(4);
});

it('what is put back is the next of its tenant', () => {
  const queue = create();
  add(queue, 'a', 5);
  const [first, ...rest] = queue.take(LIMITS);
  queue.putBack(rest);
  expect(queue.take(LIMITS)).toEqual(rest);
  expect(rest).not.toContain(first);
});

it('is full by events and by bytes, and has nothing twice', () => {
  const queue = create({ maxEvents: 3, maxBytes: 1_000 });
  add(queue, 'a', 2);
  expect(queue.isFull).toBe(false);
  expect(queue.add({ key, tenant: 'a', bytes: 10 })).toBe(false);
  add(queue, 'a', 1, 980);
  expect(queue.isFull).toBe(true);
  queue.take(LIMITS);
  expect(queue.isFull).toBe(false);
});
