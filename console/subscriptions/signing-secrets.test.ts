import { expect, test } from 'vitest';
import { signingSecrets } from './signing-secrets.ts';

test('a secret whose overlap is over does not sign any more', () => {
  const current = { expiresAt: null };
  const former = { expiresAt: '2026-01-31T12:00:01.000Z' };
  const over = { expiresAt: '2026-01-31T12:00:00.000Z' };
  expect(signingSecrets([current, former, over], Date.parse('2026-01-31T12:00:00.000Z'))).toEqual([current, former]);
});
