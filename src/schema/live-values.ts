import type { GraphQLField, GraphQLSchema } from 'graphql';
import type { Context } from './context.ts';

/** Makes each value of a live stream wait for `admitValue` of the context before its fields are resolved. */
export function admitValues(schema: GraphQLSchema): void {
  // `as`: graphql-js leaves the type of the context open.
  const fields = Object.values(schema.getSubscriptionType()?.getFields() ?? {}) as GraphQLField<unknown, Context>[];
  for (const field of fields) admitValuesOf(field);
}

function admitValuesOf(field: GraphQLField<unknown, Context>): void {
  const subscribe = field.subscribe?.bind(field);
  if (subscribe === undefined) return;
  field.subscribe = async (root, args, context, info) => {
    // `as`: every live stream of the schema is an iterable.
    const values = (await subscribe(root, args, context, info)) as AsyncIterable<unknown>;
    return context.admitValue === undefined ? values : admitted(values, context.admitValue);
  };
}

function admitted<T>(values: AsyncIterable<T>, admitValue: () => Promise<void>): AsyncIterableIterator<T> {
  const source = values[Symbol.asyncIterator]();
  let isOver = false;
  return {
    next: async () => {
      const step = await source.next();
      if (step.done !== true) await admitValue();
      // The reader may have left in the meantime.
      return isOver ? { done: true, value: undefined } : step;
    },
    return: async () => {
      isOver = true;
      return (await source.return?.()) ?? { done: true, value: undefined };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
