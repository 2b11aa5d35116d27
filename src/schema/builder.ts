import SchemaBuilder from '@pothos/core';
import ComplexityPlugin from '@pothos/plugin-complexity';
import ErrorsPlugin from '@pothos/plugin-errors';
import PrismaPlugin from '@pothos/plugin-prisma';
import RelayPlugin from '@pothos/plugin-relay';
import type PrismaTypes from '../generated/pothos-prisma-types.ts';
import { getDatamodel } from '../generated/pothos-prisma-types.ts';
import type { Context } from './context.ts';

/** Lists count tenfold; but that of a connection is as long as the connection says. */
const ONCE = { complexity: { field: 1, multiplier: 1 } };

export const builder = new SchemaBuilder<{
  Context: Context;
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
  // The errors plugin before Prisma's, or the latter takes the result unions for rows.
  plugins: [ErrorsPlugin, RelayPlugin, PrismaPlugin, ComplexityPlugin],
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

builder.queryType({});
builder.mutationType({});
builder.subscriptionType({});
