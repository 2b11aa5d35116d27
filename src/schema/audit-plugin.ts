import SchemaBuilder, {
  BasePlugin,
  type FieldNullability,
  type InputFieldMap,
  type PothosOutputFieldConfig,
  type SchemaTypes,
  type TypeParam,
} from '@pothos/core';
import type { GraphQLFieldResolver } from 'graphql';
import { AuditRecorder } from '../audit/recorder.ts';
import type { Context } from './context.ts';

declare global {
  // oxlint-disable-next-line typescript/no-namespace -- how Pothos takes the types of plugins
  export namespace PothosSchemaTypes {
    interface Plugins<Types extends SchemaTypes> {
      audit: AuditPlugin<Types>;
    }
    interface MutationFieldOptions<
      Types extends SchemaTypes,
      Type extends TypeParam<Types>,
      Nullable extends FieldNullability<Type>,
      Args extends InputFieldMap,
      ResolveReturnShape,
    > {
      /**
       * The GraphQL type of the object that the mutation changes, for the audit log. False: the mutation is not recorded,
       * for the reason in docs/audit-log.md.
       */
      audit: string | false;
    }
  }
}

type Resolver = GraphQLFieldResolver<unknown, Context, Readonly<Record<string, unknown>>>;

/**
 * Records every mutation in the audit log, unless its field has `audit: false`. It passes the resolver a database with
 * a recorder, which records the changes made through it. The resolver of an exempt mutation is not wrapped, so it has
 * no cost.
 */
class AuditPlugin<Types extends SchemaTypes> extends BasePlugin<Types> {
  override wrapResolve(
    resolver: GraphQLFieldResolver<unknown, Types['Context'], object>,
    { parentType, name, pothosOptions }: PothosOutputFieldConfig<Types>,
  ): GraphQLFieldResolver<unknown, Types['Context'], object> {
    const { audit } = pothosOptions as { readonly audit?: string | false };
    if (parentType !== 'Mutation' || audit === false) return resolver;
    // `as`: the context is that of the builder in builder.ts, and the arguments of a resolver are an object.
    return recorded(resolver, { mutation: name, objectType: audit ?? 'Unknown' }) as typeof resolver;
  }
}

function recorded(
  resolver: Resolver,
  field: { readonly mutation: string; readonly objectType: string },
): GraphQLFieldResolver<unknown, Context, Readonly<Record<string, unknown>>> {
  return async (parent, args, context, info) => {
    const { services, viewer } = context;
    const recorder = new AuditRecorder({ ...field, args, viewer, nowMs: services.database.clock.now() });
    const database = { ...services.database, recorder };
    const result: unknown = await resolver(parent, args, { ...context, services: { ...services, database } }, info);
    await recorder.finish(database.pool, result);
    return result;
  };
}

SchemaBuilder.registerPlugin('audit', AuditPlugin);

export default 'audit' as const;
