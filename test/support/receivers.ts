import { afterEach } from 'vitest';
import { type Receiver, type Respond, startReceiver } from './receiver.ts';

/** Returns a function that starts receivers. They are closed after each test, after the file's own `afterEach` hooks. */
export function createReceive(): (respond?: Respond) => Promise<Receiver> {
  const receivers: Receiver[] = [];
  afterEach(async () => {
    await Promise.all(receivers.splice(0).map((receiver) => receiver.close()));
  });
  return async (respond) => {
    const receiver = await startReceiver(respond);
    receivers.push(receiver);
    return receiver;
  };
}
