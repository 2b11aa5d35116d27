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
import { parseMoment } from '../lib/moment.ts';
import type { Context } from './context.ts';
import { DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE } from './page.ts';

/** Lists count tenfold; but that of a connection is as long as the connection says. */
const ONCE = { complexity: { field: 1, multiplier: 1 } };

/** Of what all connections have. */
const DESCRIPTIONS = {
  defaultConnectionTypeOptions: { description: 'A page of a list, and where the list goes on.' },
  defaultEdgeTypeOptions: { description: 'A row of a page, and its place in the list.' },
  cursorFieldOptions: { description: 'Hand it as `after` or `before` to go on from here.' },
  pageInfoTypeOptions: {
    description:
      'Where a page begins and ends: `after` its `endCursor` comes the next one, `before` its `startCursor` the one before.',
  },
  firstArgOptions: {
    description: `So many rows from the beginning, or those after \`after\`; at most ${MAX_PAGE_SIZE}. Default: ${DEFAULT_PAGE_SIZE}.`,
  },
  lastArgOptions: {
    description: `So many rows from the end, or the nearest ones before \`before\`; at most ${MAX_PAGE_SIZE}.`,
  },
  afterArgOptions: { description: 'A cursor: only the rows that come after it in the list.' },
  beforeArgOptions: { description: 'A cursor: only the rows that come before it in the list.' },
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
  // The errors plugin before Prisma's, or the latter takes the result unions for rows. What may not be asked for is
  // refused before anything is read, but within the errors plugin: it is no member of a result union.
  plugins: [ErrorsPlugin, ScopeAuthPlugin, RelayPlugin, PrismaPlugin, ComplexityPlugin],
  scopeAuth: {
    authScopes: ({ viewer }) => permissionsOf(viewer),
    // Otherwise a stream would be opened, and only its values refused.
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
      description: 'What was done, or why nothing was.',
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
  // Only weighs fields; the server compares before it executes, live streams as well.
  complexity: { disabled: true },
  prisma: { client: ({ services }) => services.database.prisma, dmmf: getDatamodel() },
});

// Nobody may do anything unless it is said here, or by the field.
builder.queryType({ description: 'What can be read; wants a credential that may read.', authScopes: { read: true } });
builder.mutationType({
  description: 'What can be done. Answers are unions of a payload and the errors that a caller can act on.',
  authScopes: { write: true },
});
builder.subscriptionType({
  description: 'What can be watched, over WebSocket (graphql-transport-ws) or server-sent events.',
  authScopes: { read: true },
});

builder.scalarType('DateTime', {
  description: 'A moment in ISO 8601, always in UTC when we say it: `2026-01-31T12:00:00.000Z`.',
  serialize: (moment) => moment.toISOString(),
  parseValue: (value) => {
    const moment = typeof value === 'string' ? parseMoment(value) : undefined;
    if (moment === undefined) {
      throw new GraphQLError('DateTime must be ISO 8601 with a time zone, such as 2026-01-31T12:00:00Z');
    }
    return moment;
  },
});

builder.scalarType('JSON', {
  description: 'Any JSON value. Numbers beyond the precision of a double lose it here; deliveries keep every byte.',
  serialize: (value) => value,
  parseValue: (value) => value,
});
