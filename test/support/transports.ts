import { ADMIN_KEY } from './graphql-api.ts';
import { createSocketClient } from './graphql-client.ts';

export const TRANSPORTS = ['HTTP', 'SSE', 'WebSocket'] as const;

export type OperationResult = {
  readonly data?: unknown;
  readonly errors?: readonly { readonly message: string; readonly extensions?: Record<string, unknown> }[];
};
export type OperationRequest = {
  readonly query: string;
  readonly variables?: Record<string, unknown>;
  readonly operationName?: string;
};

/** Returns the first answer to an operation over the transport. WebSocket uses a new socket. */
export async function runOperation(
  url: string,
  transport: (typeof TRANSPORTS)[number],
  request: OperationRequest,
): Promise<OperationResult> {
  if (transport === 'WebSocket') return runOverSocket(url, request);
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      authorization: `Bearer ${ADMIN_KEY}`,
      accept: transport === 'SSE' ? 'text/event-stream' : 'application/json',
    },
    body: JSON.stringify(request),
  });
  const text = await response.text();
  const json = transport === 'SSE' ? /^data: (\{.*)$/m.exec(text)?.[1] : text;
  if (json === undefined) throw new Error(`no event in ${text}`);
  // `as`: the tests check the content of the answer.
  return JSON.parse(json) as OperationResult;
}

async function runOverSocket(url: string, { query, variables = {} }: OperationRequest): Promise<OperationResult> {
  const client = createSocketClient(url, ADMIN_KEY);
  try {
    const result = await client.iterate({ query, variables }).next();
    // `as`: the tests check the content of the answer.
    return result.value as OperationResult;
  } catch (errors) {
    // The protocol's own message for errors before execution.
    if (Array.isArray(errors)) return { errors: errors as OperationResult['errors'] & object };
    throw errors;
  } finally {
    await client.dispose();
  }
}
