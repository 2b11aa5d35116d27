/**
 * SQLSTATE classes 08 (connection exception), 53300 (too many connections) and 57P (shutting down, starting up), what
 * Node says of a socket, and Prisma's P1001, P1002, P1008, P1017 and P2024 for the same.
 */
const CODE =
  /^(?:08...|53300|57P0[1-5]|ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|ENOENT|P1001|P1002|P1008|P1017|P2024)$/;
/** What pg and Prisma's adapter say without a code. */
const MESSAGE =
  /Connection terminated|timeout exceeded when trying to connect|timeout expired|Can't reach database server|server has closed the connection|not queryable/;
const KIND = /^(?:DatabaseNotReachable|ConnectionClosed|SocketTimeout|TooManyConnections|TlsConnectionError)$/;
const MAX_DEPTH = 5;

/** Whether an error of Prisma or pg, or a cause of it, says that Postgres cannot be reached. */
export function isDatabaseUnavailable(error: unknown, depth = 0): boolean {
  if (typeof error !== 'object' || error === null || depth > MAX_DEPTH) return false;
  const says = (property: string, pattern: RegExp) => pattern.test(textOf(error, property));
  if (says('code', CODE) || says('originalCode', CODE) || says('kind', KIND) || says('message', MESSAGE)) return true;
  const causes: unknown[] = ['cause' in error ? error.cause : undefined, ...errorsOf(error), ...metaOf(error)];
  return causes.some((cause) => isDatabaseUnavailable(cause, depth + 1));
}

function textOf(error: object, property: string): string {
  const value: unknown = Reflect.get(error, property);
  return typeof value === 'string' ? value : '';
}

/** Node tries several addresses and says what became of each. */
function errorsOf(error: object): unknown[] {
  return error instanceof AggregateError ? error.errors : [];
}

/** Where Prisma keeps its adapter's error. */
function metaOf(error: object): unknown[] {
  if (!('meta' in error) || typeof error.meta !== 'object' || error.meta === null) return [];
  return 'driverAdapterError' in error.meta ? [error.meta.driverAdapterError] : [];
}
