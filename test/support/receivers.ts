import { afterEach } from 'vitest';
import { type Receiver, type Respond, startReceiver } from './receiver.ts';

/** For the tests of a file: what it starts is closed after each of them, and after the file's own `afterEach`. */
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
