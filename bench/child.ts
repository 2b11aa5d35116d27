import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Stack } from './stack.ts';

export type Child<Message> = {
  /** What it says first. */
  readonly first: Promise<Message>;
  /** Calls the listener with everything it says afterwards. */
  onMessage(listener: (message: Message) => void): void;
  send(message: object): void;
  stop(): Promise<void>;
};

/**
 * Runs a file of this folder in a process of its own, so that what it does takes no time of the measuring one; it is
 * stopped with the stack at the latest. It has to end when its channel to us closes; `Message` is what it sends there.
 */
export function startChild<Message>(
  stack: Pick<Stack, 'onStop'>,
  file: string,
  args: readonly string[] = [],
): Child<Message> {
  // A group of its own: Ctrl-C in the terminal is for the bench alone, which stops what it started.
  const child = fork(join(import.meta.dirname, file), args, { detached: true });
  const ended = once(child, 'exit');
  const first = Promise.race([
    once(child, 'message').then(([message]) => message as Message), // each file says what it sends
    ended.then(([code]) => {
      throw new Error(`${file} ended with ${String(code)}`);
    }),
  ]);
  // Whoever waits for it is told.
  first.catch(() => undefined);
  const stop = async () => {
    if (child.connected) child.disconnect();
    await ended;
  };
  stack.onStop(stop);
  return {
    first,
    onMessage: (listener) => {
      child.on('message', listener as (message: unknown) => void); // as above
    },
    send: (message) => child.send(message),
    stop,
  };
}
