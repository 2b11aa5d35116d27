import { createRequire } from 'node:module';
import type * as graphql from 'graphql';
import { expect, it } from 'vitest';
import { createOperationWork } from '../../src/lib/operation-work.ts';
import { schema } from '../../src/schema/schema.ts';

// The copy of the module with which Pothos created the schema: an import would load another copy.
const { execute, isObjectType, parse } = createRequire(import.meta.url)('graphql') as typeof graphql;

/** Pothos's extension of a type: the columns that its queries read. */
type Noted = { readonly select?: Readonly<Record<string, unknown>> };

it('a field does not select a column that every query of its type already selects', () => {
  const again = Object.values(schema.getTypeMap())
    .filter(isObjectType)
    .flatMap((type) => {
      const { select = {} } = (type.extensions['pothosPrismaTypeSelection'] ?? {}) as Noted;
      return Object.values(type.getFields()).flatMap((field) => {
        const columns = Object.keys((field.extensions['pothosPrismaSelect'] as object | undefined) ?? {});
        return columns.length > 0 && columns.every((column) => column in select) ? [`${type.name}.${field.name}`] : [];
      });
    });
  expect(again).toEqual([]);
});

it('the answer of publishEvent needs no query', async () => {
  const occurredAt = new Date();
  const event = { tenant: 'acme', eventId: 'e-1', type: 'a.b', occurredAt, data: Buffer.from('{"n":1}') };
  const contextValue = {
    viewer: { scope: 'ADMIN', credentialId: 'admin' },
    work: createOperationWork(undefined),
    services: { publishEvents: () => Promise.resolve([{ event: { ...event, rowId: 'r-1', isKnown: false } }]) },
    eventData: { remember: () => undefined },
  };
  const document = parse(`mutation {
    publishEvent(input: { tenant: "acme", type: "a.b", data: { n: 1 } }) {
      ... on PublishEventPayload { event { __typename id tenant type occurredAt source } }
    }
  }`);
  const { data, errors } = await execute({ schema, document, contextValue });
  expect(errors).toBeUndefined();
  expect(data).toMatchObject({
    publishEvent: { event: { id: 'e-1', tenant: 'acme', type: 'a.b', source: 'GRAPHQL' } },
  });
});
