import { randomUUID } from 'node:crypto';
import { PothosValidationError } from '@pothos/core';
import type { GraphQLError, GraphQLErrorExtensions } from 'graphql';
import { createGraphQLError } from 'graphql-yoga';
import type { Logger } from 'pino';
import { DomainError, InputError, LimitExceededError } from '../../lib/errors.ts';
import { isUnavailable } from '../../postgres/errors.ts';

/** The cause of an error: the caller, unavailable Postgres, or a bug. */
export type Fault = 'refused' | 'unavailable' | 'failed';

export function faultOf(error: unknown): Fault {
  const cause = originOf(error);
  if (cause instanceof DomainError || cause instanceof PothosValidationError || isGraphQLError(cause)) return 'refused';
  return isUnavailable(cause) ? 'unavailable' : 'failed';
}

/**
 * Masks errors for the caller. A domain error keeps its code and message, and `problems` if it is about the input. An error
 * that GraphQL found in the request stays unchanged. Any other error is logged, and the caller gets its correlation id.
 */
export function createMaskError(log: Logger): (error: unknown) => GraphQLError {
  return (error) => {
    const cause = originOf(error);
    if (cause instanceof DomainError) return restate(error, cause.message, extensionsOf(cause));
    if (cause instanceof PothosValidationError) return restate(error, cause.message, extensionsOfPage(cause));
    if (isGraphQLError(cause)) return restate(error, cause.message, cause.extensions);
    const correlationId = randomUUID();
    if (isUnavailable(cause)) {
      log.warn({ err: cause, correlationId }, 'GraphQL operation failed: Postgres unavailable');
      const message = 'the database is unavailable; try again later';
      return restate(error, message, { code: 'SERVICE_UNAVAILABLE', correlationId });
    }
    log.error({ err: cause, correlationId }, 'GraphQL operation failed');
    const message = `internal error; the server's log has the details under the correlation id ${correlationId}`;
    return restate(error, message, { code: 'INTERNAL_SERVER_ERROR', correlationId });
  };
}

function extensionsOf(error: DomainError): GraphQLErrorExtensions {
  if (error instanceof LimitExceededError) return { code: error.code, limit: error.limit, max: error.max };
  if (!(error instanceof InputError)) return { code: error.code };
  const problems = error.problems.map(({ path, message, code = 'INVALID_INPUT' }) => ({ path, message, code }));
  return { code: error.code, problems };
}

/** Pothos refuses arguments of a connection, such as contradicting ones, and quotes the argument's name in the message. */
function extensionsOfPage({ message }: PothosValidationError): GraphQLErrorExtensions {
  const [, path = ''] = /"(\w+)"/.exec(message) ?? [];
  return { code: 'INVALID_INPUT', problems: [{ path, message, code: 'INVALID_INPUT' }] };
}

function originOf(error: unknown): unknown {
  return isGraphQLError(error) && error.originalError != null ? originOf(error.originalError) : error;
}

/** Compares names: a module loader may load two copies of the graphql package, and `instanceof` fails across them. */
function isGraphQLError(error: unknown): error is GraphQLError {
  return error instanceof Error && error.name === 'GraphQLError';
}

/** Returns an error with the same location and path, and another message. */
function restate(error: unknown, message: string, extensions: GraphQLErrorExtensions): GraphQLError {
  // Yoga's function creates instances of the copy that graphql-ws uses.
  if (!isGraphQLError(error)) return createGraphQLError(message, { extensions });
  const { nodes = null, source = null, positions = null, path = null } = error;
  return createGraphQLError(message, { extensions, nodes, source, positions, path });
}
