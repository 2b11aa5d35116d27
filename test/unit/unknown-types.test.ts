import { expect, it } from 'vitest';
import { problemsOfUnknownTypes } from '../../src/events/catalogue/service.ts';

it('suggestions for misspelt event types are few, and charged to the tenant', async () => {
  const entries = Array.from({ length: 2_000 }, (_, index) => ({
    name: `com.example.order.${index}`,
    isArchived: false,
  }));
  // `as`: the only method that is called.
  const db = { eventType: { findMany: () => Promise.resolve(entries) } } as unknown as Parameters<
    typeof problemsOfUnknownTypes
  >[0];
  const charges: number[] = [];
  const eventTypes = Array.from({ length: 20 }, (_, index) => `com.example.ordre.${index}`);
  const problems = await problemsOfUnknownTypes(db, { eventTypes, spend: (ms) => charges.push(ms) });
  expect(problems).toHaveLength(20);
  expect(problems[0]?.message).toBe('is not in the event catalogue; did you mean com.example.order.0?');
  expect(problems.filter(({ message }) => message.includes('did you mean'))).toHaveLength(10);
  expect(charges).toHaveLength(10);
  expect(Math.min(...charges)).toBeGreaterThan(0);
});
