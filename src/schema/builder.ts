import SchemaBuilder from '@pothos/core';
import ComplexityPlugin from '@pothos/plugin-complexity';
import ErrorsPlugin from '@pothos/plugin-errors';
import PrismaPlugin from '@pothos/plugin-prisma';
import RelayPlugin from '@pothos/plugin-relay';
import ScopeAuthPlugin from '@pothos/plugin-scope-auth';
import { GraphQLError } from 'graphql';
import type PrismaTypes from '../generated/pothos-prisma-types.ts';
import { getDatamodel } from '../generated/pothos-prisma-types.ts';
import type { Context } from './context.ts';
import { type Permissions, permissionsOf } from './viewer.ts';

/** Lists count tenfold; but that of a connection is as long as the connection says. */
const ONCE = { complexity: { field: 1, multiplier: 1 } };

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
    defaultUnionOptions: { name: ({ fieldName }) => `${fieldName.charAt(0).toUpperCase()}${fieldName.slice(1)}Result` },
  },
  relay: {
    nodeQueryOptions: false,
    nodesQueryOptions: false,
    nodesOnConnection: ONCE,
    edgesFieldOptions: { nullable: { list: false, items: false }, ...ONCE },
    nodeFieldOptions: { nullable: false },
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
