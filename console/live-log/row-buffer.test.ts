import { expect, test } from 'vitest';
import { RowBuffer } from './row-buffer.ts';

const row = (id: number) => ({ id: String(id) });
const idsOf = (buffer: RowBuffer<{ readonly id: string }>) => buffer.slice().map(({ id }) => Number(id));

test('rows are newest first, and a row that arrives twice is there once', () => {
  const buffer = new RowBuffer(10);
  for (const id of [1, 2, 2, 3, 1]) buffer.append(row(id));
  expect(idsOf(buffer)).toEqual([3, 2, 1]);
  expect(buffer.appended).toBe(3);
});

test('older rows go below, without those that are there and as far as there is room', () => {
  const buffer = new RowBuffer(4);
  buffer.append(row(5));
  buffer.append(row(6));
  buffer.prepend([row(5), row(4), row(3), row(2)]);
  expect(idsOf(buffer)).toEqual([6, 5, 4, 3]);
  expect(buffer.isFull).toBe(true);
});

test('the capacity holds while rows arrive, and an id that has left may arrive again', () => {
  const buffer = new RowBuffer(20);
  for (let id = 0; id < 1_000; id += 1) {
    buffer.append(row(id));
    expect(buffer.length).toBeLessThanOrEqual(20);
  }
  expect(idsOf(buffer)).toEqual(Array.from({ length: 20 }, (_, index) => 999 - index));
  buffer.append(row(1));
  expect(buffer.at(0)).toEqual(row(1));
  expect(buffer.at(20)).toBeUndefined();
});
