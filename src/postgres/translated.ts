import pg from 'pg';
import { toConnectionError } from './errors.ts';

/* oxlint-disable typescript/unbound-method -- Reflect.apply() passes the object of each method */

export const toConnectError = (error: Error): Error => toConnectionError(error, '08001');
export const toQueryError = (error: Error): Error => toConnectionError(error, '08006');

type Translation = {
  // oxlint-disable-next-line typescript/no-explicit-any -- stands for each of pg's signatures
  readonly method: (...args: any[]) => unknown;
  readonly self: object;
  readonly translate: (error: Error) => Error;
};

/** Calls a method of pg, which takes a callback as its last argument or returns a promise, and translates its errors. */
export function translated(args: unknown[], { method, self, translate }: Translation): unknown {
  const last = args.at(-1);
  if (typeof last === 'function') {
    const onDone = (error: unknown, ...results: unknown[]): unknown =>
      Reflect.apply(last, undefined, [error instanceof Error ? translate(error) : error, ...results]);
    return Reflect.apply(method, self, [...args.slice(0, -1), onDone]);
  }
  const result: unknown = Reflect.apply(method, self, args);
  if (!(result instanceof Promise)) return result;
  return result.catch((error: unknown) => {
    throw error instanceof Error ? translate(error) : error;
  });
}

/**
 * When a connection breaks, its statements fail. Without a listener, the event `error` would also end the process: the pool
 * takes its own away before it passes a connection on, and the next user adds one only after the turn of the event loop.
 */
export function ignoreErrorEvents(client: pg.Client): void {
  client.on('error', () => undefined);
}

/** A client whose errors have an SQLSTATE, also those of the network. */
export class TranslatedClient extends pg.Client {
  constructor(config?: pg.ClientConfig) {
    super(config);
    ignoreErrorEvents(this);
  }

  // oxlint-disable-next-line typescript/no-explicit-any -- stands for each of pg's signatures
  override connect(...args: any[]): any {
    return translated(args, { method: super.connect, self: this, translate: toConnectError });
  }

  // oxlint-disable-next-line typescript/no-explicit-any -- stands for each of pg's signatures
  override query(...args: any[]): any {
    return translated(args, { method: super.query, self: this, translate: toQueryError });
  }
}
