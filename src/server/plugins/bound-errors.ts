import type { GraphQLError } from 'graphql';
import { createGraphQLError } from 'graphql-yoga';

/** Limit of the errors of one answer, as JSON: with everything around them, an answer to a bad request is at most 64 KiB. */
const MAX_BYTES = 48 * 1024;
const MAX_ERROR_BYTES = 8 * 1024;
const MAX_MESSAGE_LENGTH = 1_000;
/** Places in the document that one error names. */
const MAX_NODES = 10;

type Errors = { readonly errors?: readonly GraphQLError[] | undefined };

/** The same answer, with errors that are short and few; what they quote and name comes from the request. */
export function boundErrors<Result extends Errors>(result: Result): Result {
  const { errors } = result;
  if (errors === undefined) return result;
  const kept: GraphQLError[] = [];
  let bytes = 0;
  for (const error of errors) {
    const bounded = boundError(error);
    bytes += sizeOf(bounded);
    if (bytes > MAX_BYTES) {
      kept.push(createGraphQLError(`${errors.length - kept.length} more errors are left out`));
      break;
    }
    kept.push(bounded);
  }
  return kept.every((error, index) => error === errors[index]) ? result : { ...result, errors: kept };
}

function boundError(error: GraphQLError): GraphQLError {
  const { message, nodes, path, extensions, source, positions } = error;
  const isShort = message.length <= MAX_MESSAGE_LENGTH && (nodes?.length ?? 0) <= MAX_NODES;
  if (isShort && sizeOf(error) <= MAX_ERROR_BYTES) return error;
  const text =
    message.length > MAX_MESSAGE_LENGTH ? `${message.slice(0, MAX_MESSAGE_LENGTH).toWellFormed()}…` : message;
  const place = nodes === undefined ? { source, positions } : { nodes: nodes.slice(0, MAX_NODES) };
  const bounded = createGraphQLError(text, { ...place, path, extensions });
  if (sizeOf(bounded) <= MAX_ERROR_BYTES) return bounded;
  // Names in the path and the extensions are the client's, too. `http` is the status, for Yoga.
  const { code, http } = extensions;
  return createGraphQLError(text.slice(0, 300).toWellFormed(), { extensions: { code, http } });
}

function sizeOf(error: GraphQLError): number {
  return Buffer.byteLength(JSON.stringify(error));
}
