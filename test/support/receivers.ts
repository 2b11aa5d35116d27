import { createCleanUps } from './clean-ups.ts';
import { type Receiver, type Respond, startReceiver } from './receiver.ts';

/** Returns a function that starts receivers. They are closed after each test, after the file's own `afterEach` hooks. */
export function createReceive(): (respond?: Respond) => Promise<Receiver> {
  const cleanUps = createCleanUps();
  return async (respond) => {
    const receiver = await startReceiver(respond);
    cleanUps.push(() => receiver.close());
    return receiver;
  };
}
