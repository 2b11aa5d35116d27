import { expect, test } from 'vitest';
import { assessServerVersion } from '../../src/nats/link.ts';

test.each([
  ['2.8.4', 'too old'],
  ['1.99.99', 'too old'],
  ['2.9.0', 'risky'],
  ['2.9.10', 'risky'],
  ['2.12.4', 'risky'],
  ['2.12.5', 'sound'],
  ['2.12.11-RC.1', 'sound'],
  ['2.14.0', 'sound'],
  ['3.0.0', 'sound'],
  ['a fork', 'risky'],
  [undefined, 'risky'],
])('nats-server %s is %s', (version, judgement) => {
  expect(assessServerVersion(version)).toBe(judgement);
});
