import { randomUUID } from 'node:crypto';
import { PothosValidationError } from '@pothos/core';
import { GraphQLError, type GraphQLErrorExtensions } from 'graphql';
import type { Logger } from 'pino';
import { DomainError } from '../domain-error.ts';
import { isDatabaseUnavailable } from './database-unavailable.ts';

/**
 * What the caller may know of an error. A domain error keeps its code and message, an error GraphQL made of the
 * request stays as it is, and anything else is a fault of ours: it goes to the log, the caller gets its number there.
 */
export function createMaskError(log: Logger): (error: unknown) => GraphQLError {
  return (error) => {
    const cause = originOf(error);
    if (cause instanceof DomainError) return restate(error, cause.message, { code: cause.code });
    // Pothos' word for arguments of a connection that contradict each other.
    if (cause instanceof PothosValidationError) return restate(error, cause.message, { code: 'INVALID_INPUT' });
    if (cause instanceof GraphQLError) return cause === error ? cause : restate(error, cause.message, cause.extensions);
    const correlationId = randomUUID();
    if (isDatabaseUnavailable(cause)) {
      log.warn({ err: cause, correlationId }, 'a GraphQL operation failed because Postgres is away');
      const message = 'the database cannot be reached right now; try again in a moment';
      return restate(error, message, { code: 'SERVICE_UNAVAILABLE', correlationId });
    }
    log.error({ err: cause, correlationId }, 'a GraphQL operation failed');
    const message = `something went wrong on our side; the log has more under ${correlationId}`;
    return restate(error, message, { code: 'INTERNAL_SERVER_ERROR', correlationId });
  };
}

function originOf(error: unknown): unknown {
  return error instanceof GraphQLError && error.originalError != null ? originOf(error.originalError) : error;
}

/** Another message at the same place of the same operation. */
function restate(error: unknown, message: string, extensions: GraphQLErrorExtensions): GraphQLError {
  if (!(error instanceof GraphQLError)) return new GraphQLError(message, { extensions });
  return new GraphQLError(message, { extensions, nodes: error.nodes ?? null, path: error.path ?? null });
}
