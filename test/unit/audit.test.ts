import { expect, test } from 'vitest';
import { differences } from '../../src/audit/objects.ts';
import { AuditRecorder } from '../../src/audit/recorder.ts';
import { schema } from '../../src/schema/schema.ts';

/** Mutations that the audit log does not record, for the reasons in docs/audit-log.md. */
const EXEMPT = ['endSession', 'exchangePortalCode', 'publishEvent', 'publishEvents', 'sendTestEvent'];

/** Object types of the audit log that are not types of the API. */
const OTHER_OBJECTS = ['EventType', 'Tenant'];

test('every mutation is recorded with the type of its object, or exempt for a documented reason', () => {
  const fields = Object.values(schema.getMutationType()?.getFields() ?? {});
  expect(fields.length).toBeGreaterThan(10);
  const options = fields.map(({ name, extensions }) => {
    // `as`: Pothos stores the options of a field here.
    const { audit } = extensions['pothosOptions'] as { readonly audit?: string | false };
    return { name, audit };
  });
  const exempt = options.filter(({ audit }) => audit === false).map(({ name }) => name);
  expect(exempt.toSorted()).toEqual(EXEMPT);
  const types = options.flatMap(({ audit }) => (audit === false ? [] : [audit]));
  const unknown = types.filter(
    (type) => type === undefined || (schema.getType(type) === undefined && !OTHER_OBJECTS.includes(type)),
  );
  expect(unknown).toEqual([]);
});

test('only changed settings are recorded', () => {
  const before = { url: 'https://a', eventTypes: ['a'], filter: { n: 1 } };
  const after = { url: 'https://b', eventTypes: ['a'], filter: { n: 2 } };
  expect(differences(before, after)).toEqual({
    before: { url: 'https://a', filter: { n: 1 } },
    after: { url: 'https://b', filter: { n: 2 } },
  });
  expect(differences(null, after)).toEqual({ before: null, after });
  expect(differences(before, null)).toEqual({ before, after: null });
});

test('a large value is replaced by its length', () => {
  const { after } = differences({ schema: null }, { schema: 'x'.repeat(60_000) });
  expect(after).toEqual({ schema: { omittedCharacters: 60_002 } });
});

/** A fake database that records the parameters of inserted rows. */
function createFakeDb() {
  const inserted: unknown[][] = [];
  const query = (text: string, values: unknown[] = []) => {
    if (text.includes('INSERT')) inserted.push(values);
    return Promise.resolve({ rows: [] });
  };
  return { db: { query }, inserted };
}

const VIEWER = { scope: 'TENANT_WRITE', tenant: 'acme', credentialId: 'jwt:abc', subject: 'user-42' } as const;

test('a mutation without its own transaction is recorded afterwards, and one with several gets one row', async () => {
  const call = { mutation: 'doIt', objectType: 'Unknown', args: { id: 'x' }, viewer: VIEWER, nowMs: 1_000 };
  const { db, inserted } = createFakeDb();
  const late = new AuditRecorder(call);
  await late.finish(db, {});
  expect(inserted).toMatchObject([
    [expect.any(String), 'acme', 'doIt', 'JWT', 'TENANT_WRITE', null, 'user-42', 'Unknown', 'x', null, null],
  ]);
  const twice = new AuditRecorder(call);
  await twice.begin(db);
  await twice.end(db, {});
  await twice.begin(db);
  await twice.end(db, {});
  await twice.finish(db, {});
  const ids = inserted.slice(1).map(([id]) => id);
  expect(new Set(ids).size).toBe(1);
});
