import type { GraphQLError } from 'graphql';
import { createGraphQLError } from 'graphql-yoga';

export function tooManyOperations(message: string): GraphQLError {
  return createGraphQLError(message, { extensions: { code: 'TOO_MANY_OPERATIONS' } });
}
