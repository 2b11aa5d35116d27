import SchemaBuilder from '@pothos/core';
import ComplexityPlugin from '@pothos/plugin-complexity';
import ErrorsPlugin from '@pothos/plugin-errors';
import PrismaPlugin from '@pothos/plugin-prisma';
import RelayPlugin from '@pothos/plugin-relay';
import ScopeAuthPlugin from '@pothos/plugin-scope-auth';
import { GraphQLError } from 'graphql';
import { type Permissions, permissionsOf } from '../auth/viewer.ts';
import type PrismaTypes from '../generated/pothos-prisma-types.ts';
import { getDatamodel } from '../generated/pothos-prisma-types.ts';
import { parseDateTime } from '../lib/date-time.ts';
import AuditPlugin from './audit-plugin.ts';
import type { Context } from './context.ts';
import { DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE } from './page.ts';
import RowIdsPlugin from './row-ids.ts';

/** Complexity of the lists in a connection, whose own complexity already counts their length. Other lists count tenfold. */
const ONCE = { complexity: { field: 1, multiplier: 1 } };

/** Descriptions that all connections share. */
const DESCRIPTIONS = {
  defaultConnectionTypeOptions: { description: 'A page of a list, with cursors for the pages around it.' },
  defaultEdgeTypeOptions: { description: 'A row of a page with its cursor.' },
  cursorFieldOptions: { description: 'A cursor for `after` or `before` that continues from this row.' },
  pageInfoTypeOptions: {
    description:
      'The ends of a page. The next page is `after` its `endCursor`, the previous one `before` its `startCursor`.',
  },
  firstArgOptions: {
    description: `The number of rows from the start of the list or behind \`after\`, at most ${MAX_PAGE_SIZE}. Default: ${DEFAULT_PAGE_SIZE}.`,
  },
  lastArgOptions: {
    description: `The number of rows from the end of the list or directly in front of \`before\`, at most ${MAX_PAGE_SIZE}.`,
  },
  afterArgOptions: { description: 'A cursor. The page has only rows behind it.' },
  beforeArgOptions: { description: 'A cursor. The page has only rows in front of it.' },
};

export const builder = new SchemaBuilder<{
  Context: Context;
  AuthScopes: { -readonly [K in keyof Permissions]: boolean };
  PrismaTypes: PrismaTypes;
  DefaultFieldNullability: false;
  DefaultEdgesNullability: { list: false; items: false };
  DefaultNodeNullability: false;
  Scalars: {
    ID: { Input: string; Output: string };
    DateTime: { Input: Date; Output: Date };
    JSON: { Input: unknown; Output: unknown };
  };
}>({
  // The errors plugin comes before Prisma's, which would treat result unions as rows. Authorization runs before
  // anything is read but inside the errors plugin, because FORBIDDEN is not a member of a result union. The audit
  // plugin is inside both: a refused mutation is not recorded.
  plugins: [ErrorsPlugin, ScopeAuthPlugin, AuditPlugin, RelayPlugin, PrismaPlugin, ComplexityPlugin, RowIdsPlugin],
  scopeAuth: {
    authScopes: ({ viewer }) => permissionsOf(viewer),
    // Otherwise a stream would open, and only its values would be refused.
    authorizeOnSubscribe: true,
    unauthorizedError: (_parent, { viewer }, { parentType, fieldName }) =>
      new GraphQLError(`credentials with the scope ${viewer.scope} may not use ${parentType.name}.${fieldName}`, {
        extensions: { code: 'FORBIDDEN' },
      }),
  },
  defaultFieldNullability: false,
  errors: {
    directResult: true,
    defaultUnionOptions: {
      name: ({ fieldName }) => `${fieldName.charAt(0).toUpperCase()}${fieldName.slice(1)}Result`,
      description: 'The payload of the mutation, or the reason why it changed nothing.',
    },
  },
  relay: {
    nodeQueryOptions: false,
    nodesQueryOptions: false,
    nodesOnConnection: ONCE,
    edgesFieldOptions: { nullable: { list: false, items: false }, ...ONCE },
    nodeFieldOptions: { nullable: false },
    ...DESCRIPTIONS,
  },
  // The plugin only weighs fields. The server enforces the limit before execution, also of live streams.
  complexity: { disabled: true },
  prisma: { client: ({ services }) => services.database.prisma, dmmf: getDatamodel() },
});

// Permissions are denied unless these types or a field grant them.
builder.queryType({ description: 'The queries. They require a credential that may read.', authScopes: { read: true } });
builder.mutationType({
  description: 'The mutations. Each returns a union of its payload and the errors that a caller can act on.',
  authScopes: { write: true },
});
builder.subscriptionType({
  description: 'The live streams, over WebSocket (graphql-transport-ws) or server-sent events.',
  authScopes: { read: true },
});

builder.scalarType('DateTime', {
  description: 'A time in ISO 8601. Output is always in UTC: `2026-01-31T12:00:00.000Z`.',
  serialize: (time) => time.toISOString(),
  parseValue: (value) => {
    const time = typeof value === 'string' ? parseDateTime(value) : undefined;
    if (time === undefined) {
      throw new GraphQLError('DateTime must be ISO 8601 with a time zone, such as 2026-01-31T12:00:00Z');
    }
    return time;
  },
});

builder.scalarType('JSON', {
  description:
    'Any JSON value. Here, numbers beyond the precision of a double are rounded; deliveries keep every byte.',
  serialize: (value) => value,
  parseValue: (value) => value,
});
